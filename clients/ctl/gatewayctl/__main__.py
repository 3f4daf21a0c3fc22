"""Entry point of `gatewayctl` and of `python -m gatewayctl`."""

from __future__ import annotations

from gatewayctl.cli import app


def main() -> None:
    """Run the command line; exits with a code of `gatewayctl.exits`."""
    app(prog_name="gatewayctl")


if __name__ == "__main__":
    main()
