"""Entry point of `jpki-kiosk` and of `python -m jpki_kiosk`."""

from __future__ import annotations

from jpki_kiosk.cli import app


def main() -> None:
    """Run the command line; exits with a code of `jpki_kiosk.cli.EXIT_CODES`."""
    app(prog_name="jpki-kiosk")


if __name__ == "__main__":
    main()
