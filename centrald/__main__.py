"""Entry point of `centrald`."""

from __future__ import annotations

from centrald.cli.main import main

if __name__ == "__main__":
    main()
