"""The phone's side of a reservation as a command line: the card on a reader of its own, and the centre."""
