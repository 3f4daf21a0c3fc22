"""`gatewayd`: reads the configuration and runs the daemon."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import sys
from functools import partial
from pathlib import Path

from gatewayd import __version__, logs
from gatewayd.clock import SystemClock
from gatewayd.config import load
from gatewayd.errors import GatewayError

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_CONFIG = 78  # EX_CONFIG, sysexits(3): a restart would not help

# A wait that ends by time may end so much later: the kernel wakes several threads at once, and libpcsclite, whose waits
# end a little too early, does not spin through the rest of a millisecond. What ends by an event is not delayed.
TIMER_SLACK_NS = 5_000_000
TIMER_SLACK = Path("/proc/self/timerslack_ns")  # proc(5); threads inherit it

DEFAULT_CONFIG = Path("/etc/gatewayd/gatewayd.toml")

log = logging.getLogger("gatewayd")


def main() -> None:
    """Parse the command line and run; exits with 0 after a stop, 78 for what the operator must mend, 1 for a fault."""
    parser = argparse.ArgumentParser(
        prog="gatewayd",
        description="Owns the card reader of one kiosk and offers the reset of the signing password on a local socket.",
        epilog="Exit codes: 0 stopped by a signal, 1 a fault (see the log), 78 configuration or journal to be mended.",
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"TOML file (default {DEFAULT_CONFIG})"
    )
    parser.add_argument("--check", action="store_true", help="check the configuration and exit")
    parser.add_argument("--version", action="version", version=f"gatewayd {__version__}")
    arguments = parser.parse_args()
    sys.exit(run(arguments.config, check=arguments.check))


def run(path: Path, *, check: bool) -> int:
    """Run the daemon with this configuration; return the exit code."""
    try:
        config = load(path)
    except GatewayError as error:
        print(f"gatewayd: {error}", file=sys.stderr)
        if not path.exists():
            print(
                "An example with every key is systemd/gatewayd.toml, installed in /usr/share/gatewayd.", file=sys.stderr
            )
        return EXIT_CONFIG
    if check:
        print(f"{path}: good")
        return EXIT_OK
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold what the citizen typed
    with contextlib.suppress(OSError):
        TIMER_SLACK.write_text(str(TIMER_SLACK_NS))
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines are no JSON; what matters is told by ours
    os.environ.setdefault("PCSCLITE_NO_BLOCKING", "1")  # else libpcsclite retries a held reader for ever by itself
    listener = logs.set_up(config.log.level, journald="JOURNAL_STREAM" in os.environ)
    try:
        from gatewayd.app import serve  # here: grpc reads its environment when it is imported, and --help needs none

        asyncio.run(serve(config, SystemClock(), partial(load, path)))
    except Exception as error:
        if isinstance(cause := only_cause(error), GatewayError):
            log.error("cannot run: %s", cause)  # noqa: TRY400 - the message says it all
            return EXIT_CONFIG
        log.exception("fault")
        return EXIT_FAULT
    else:
        return EXIT_OK
    finally:
        gc.unfreeze()
        gc.collect()
        listener.stop()


def only_cause(error: Exception) -> Exception:
    """Return what a group holds, if it is one thing: a task group wraps what kept the daemon from starting, too."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
