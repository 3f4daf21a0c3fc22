"""The exit codes, one place for the code and for `--help`."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script learns without reading a word."""

    DONE = 0  # also: the status says ready
    UNSAID = 1  # the command line parser's number for a pipe that is closed
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


def _listed(words: dict[int | str, str]) -> str:
    width = max(len(str(code)) for code in words)
    return "Exit codes:\n\n\b\n" + "".join(f"{code:<{width}}  {text}\n" for code, text in words.items())


_ALWAYS: dict[int | str, str] = {
    1: "standard output is closed or full: what was to be told was not",
    2: "the command line was wrong",
}
_OUTCOMES: dict[int | str, str] = {
    0: "done: the new password is on the card",
    **_ALWAYS,
    3: "not done: the card was not changed",
    4: "unknown: the card may or may not have been changed",
    5: "the service cannot work now, nothing was changed",
    6: "the daemon cannot be reached, or the call broke and the outcome could not be learnt",
    7: "the attempt is still running",
    8: "the daemon knows no attempt of that id, or more than one begins so",
}
_LEFT: dict[int | str, str] = {130: "left by Ctrl-C before the answer"}

HELP = "Exit codes: each command's own help lists them. 0 is always the good end, 2 a wrong command line."
STATUS_HELP = _listed(
    {0: "ready; with --watch, left by Ctrl-C", **_ALWAYS, 5: "not ready", 6: "the daemon cannot be reached", **_LEFT}
)
ATTEMPTS_HELP = _listed({0: "listed", **_ALWAYS, 6: "the daemon cannot be reached", **_LEFT})
ATTEMPT_HELP = _listed({**_OUTCOMES, **_LEFT})
RESET_HELP = _listed({**_OUTCOMES, 130: "left by a second Ctrl-C before the outcome was known"})
DOCTOR_HELP = _listed(
    {
        0: "every check is ok",
        **_ALWAYS,
        9: "nothing is wrong, and something could not be seen: run it as root",
        10: "at least one check warns, none fails",
        11: "at least one check fails",
        130: "left by Ctrl-C before the end",
    }
)
