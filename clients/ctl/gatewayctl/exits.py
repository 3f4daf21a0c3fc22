"""The exit codes, one place for the code and for `--help`."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script learns without reading a word."""

    DONE = 0  # also: the status says ready
    USAGE = 2  # the command line itself; the number is the parser's
    NOT_DONE = 3
    UNKNOWN = 4
    UNAVAILABLE = 5
    BROKEN_CALL = 6
    RUNNING = 7
    NO_SUCH_ATTEMPT = 8
    UNSEEN = 9
    WARNED = 10
    FAILED = 11
    LEFT = 130  # 128 + SIGINT, the shells' convention


HELP = """Exit codes:

\b
0    done: the new password is on the card (status: ready)
2    the command line was wrong
3    not done: the card was not changed
4    unknown: the card may or may not have been changed
5    the service cannot work now, nothing was changed (status: not ready)
6    the daemon cannot be reached, or the call broke and the outcome could not be learnt
7    the attempt is still running
8    the daemon never accepted an attempt of that id
9-11 what `doctor` found; its own help says more
130  left by a second Ctrl-C before the outcome was known
"""

DOCTOR_HELP = """Exit codes:

\b
0   every check is ok
9   nothing is wrong, and something could not be seen: run it as root
10  at least one check warns, none fails
11  at least one check fails
2   the command line was wrong
"""
