"""The command line `centrald`."""
