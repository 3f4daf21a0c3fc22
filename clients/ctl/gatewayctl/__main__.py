"""Entry point of `gatewayctl` and of `python -m gatewayctl`."""

from __future__ import annotations

import os
import sys

from gatewayctl.cli import app


def main() -> None:
    """Run the command line; exits with a code of `gatewayctl.exits`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines say nothing that ours do not say better
    try:
        app(prog_name="gatewayctl")
    except OSError as error:  # of standard output, which is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it is tried again at the exit
        sys.exit(f"gatewayctl: {error.strerror}: not all could be written to standard output")


if __name__ == "__main__":
    main()
