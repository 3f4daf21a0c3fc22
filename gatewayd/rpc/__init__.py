"""The gRPC face of the daemon: translates, calls, translates. Decides nothing."""
