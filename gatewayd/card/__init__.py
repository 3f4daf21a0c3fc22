"""The card: bytes and their meaning. No I/O of its own: a job gets something with `transmit` and returns a value."""
