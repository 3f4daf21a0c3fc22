"""A simulated My Number Card that works through the real PC/SC stack.

Bytes to meaning, from the inside out:

- `apdu`, `commands`   a command taken apart, the status words, the commands there are
- `scp03`       the card's half of the secure channel
- `memory`      what a card keeps without power: files, reference data, channel keys
- `session`     what it knows only while it has power
- `card`        the card: command APDU in, response APDU out; no socket, file, thread or clock
- `persona`, `certificates`, `issue`   how a card comes into being under a test authority
- `store`       a card's memory as a file
- `ledger`      every APDU in order, with the state before and after
- `vpcd`, `slot`   the link to the virtual reader, and the slots a card is moved between
- `control`, `cli`   the control socket and the command line
"""
