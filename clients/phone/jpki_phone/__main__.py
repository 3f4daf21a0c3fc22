"""Entry point of `jpki-phone` and of `python -m jpki_phone`."""

from __future__ import annotations

import os
import sys

from jpki_phone.cli import app


def main() -> None:
    """Run the command line; exits with a code of `jpki_phone.problems.ExitCode`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines say nothing that ours do not say better
    try:
        app(prog_name="jpki-phone")
    except OSError as error:  # of standard output, which is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it is tried again at the exit
        sys.exit(f"jpki-phone: {error.strerror}: not all could be written to standard output")


if __name__ == "__main__":
    main()
