"""The journal: what must survive a power cut. No secret, no card number."""
