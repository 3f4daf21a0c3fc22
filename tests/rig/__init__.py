"""The rig: a private PC/SC stack, the parts as real processes, and the commands built from them."""
