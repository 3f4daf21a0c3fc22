"""Entry point of `jpki-phone` and of `python -m jpki_phone`."""

from __future__ import annotations

from jpki_phone.cli import app


def main() -> None:
    """Run the command line; exits with a code of `jpki_phone.problems.ExitCode`."""
    app(prog_name="jpki-phone")


if __name__ == "__main__":
    main()
