"""The operators' command line of the kiosk daemon. Speaks to its Unix socket and to nothing else."""
