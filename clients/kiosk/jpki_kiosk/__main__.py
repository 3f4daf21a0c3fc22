"""Entry point of `jpki-kiosk` and of `python -m jpki_kiosk`."""

from __future__ import annotations

import os
import sys

from jpki_kiosk.cli import app


def main() -> None:
    """Run the command line; exits with a code of `jpki_kiosk.cli.EXIT_CODES`."""
    try:
        app(prog_name="jpki-kiosk")
    except OSError as error:  # of standard output, which is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it is tried again at the exit
        sys.exit(f"jpki-kiosk: {error.strerror}: not all could be written to standard output")


if __name__ == "__main__":
    main()
