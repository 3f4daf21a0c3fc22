"""The reader: moves bytes to and from the card, on one thread that owns it. Knows no command and no citizen."""
