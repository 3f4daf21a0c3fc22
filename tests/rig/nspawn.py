"""A throw-away Debian 12, booted by systemd-nspawn: what is done in it is gone when it stops.

Its files are made once by mmdebstrap and kept under `.cache/nspawn`; a boot writes to a layer in memory above them. It
shares the network with this machine, so that cards and centre may stay outside. Needs root, or sudo without a password.
A unit's addresses are enforced inside; its limits of memory and tasks only where the outer machine has cgroups v2.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.rig.process import DIES_WITH_PARENT, ROOT, Process, RigError, run, wait_until

AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")
TREES = ROOT / ".cache/nspawn"
MIRROR = "deb http://deb.debian.org/debian bookworm main"
# Its init, and what the kiosk's package needs; polkitd judges the package's rule.
PACKAGES = ("systemd-sysv", "dbus", "libpam-systemd", "python3", "pcscd", "libpcsclite1", "libstdc++6", "polkitd")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
MAKE = (
    *("mmdebstrap", "--quiet", "--variant=essential", "--mode=root", "--format=directory", "--skip=check/empty"),
    *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none", "--aptopt=Acquire::Retries 3"),
    *("--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)),
    f"--include={','.join(PACKAGES)}",
    "bookworm",
)
MAKE_SECONDS = 300.0
# cgroups v2 whatever this machine has, and the call that loads a filter of addresses into one.
ENFORCING = ("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"), "--system-call-filter=bpf"
BOOT_SECONDS = 30.0
COMMAND_SECONDS = 60.0
CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")


def make_tree() -> Path:
    """Return the files of the system, made if they are not there yet. Raises RigError."""
    tree = TREES / hashlib.sha256(repr((MAKE, MIRROR)).encode()).hexdigest()[:16]
    TREES.mkdir(parents=True, exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            new = TREES / "new"
            run([*AS_ROOT, "rm", "-rf", *(old for old in TREES.iterdir() if old.is_dir())])
            run([*AS_ROOT, *MAKE, new, MIRROR], seconds=MAKE_SECONDS)
            run([*AS_ROOT, "mv", new, tree])
    return tree


class Machine:
    """The system, from `start` (or `with`) to `close`."""

    def __init__(
        self, tree: Path, *, log: Path, shown: Mapping[str, Path] | None = None, options: Sequence[str] = ()
    ) -> None:
        """`shown` are folders of this machine that it sees read-only under the names given; `options` are nspawn's."""
        self._tree = tree
        self._log = log
        self._shown = shown or {}
        self._options = options
        self._process: Process | None = None
        self._init = 0  # its process number, outside

    def start(self) -> Self:
        """Boot it. Raises RigError with the console's last lines."""
        environment, syscalls = ENFORCING
        self._process = Process(
            "nspawn",
            [
                *(
                    *environment,
                    "systemd-nspawn",
                    "--quiet",
                    syscalls,
                    "--register=no",
                    "--keep-unit",
                    "--volatile=overlay",
                    "--boot",
                ),
                *("--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
                *(f"--machine=kiosk-{os.getpid()}", f"--directory={self._tree}"),
                *(f"--bind-ro={folder.resolve()}:{name}" for name, folder in self._shown.items()),
                *self._options,
            ],
            log=self._log,
            prefix=(*DIES_WITH_PARENT, *AS_ROOT),
        )
        try:
            self._init = wait_until(self._find_init, BOOT_SECONDS, "systemd-nspawn: the system's init")
            wait_until(self._is_up, BOOT_SECONDS, "the booted system")
        except RigError as error:
            console = self._log.read_text(errors="replace").splitlines()[-30:]
            self.close()
            raise RigError("\n".join([str(error), *console])) from None
        return self

    def _find_init(self) -> int | None:
        assert self._process is not None
        if not self._process.running:
            raise RigError("systemd-nspawn has ended: this machine cannot boot a system")
        parent = self._process.pid
        for _ in range(1 + len(AS_ROOT)):  # sudo, or none, then nspawn, then the init
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            if not children:
                return None
            parent = int(children[0])
            if Path(f"/proc/{parent}/comm").read_text().strip() in ("systemd", "init"):
                return parent
        return None

    def _is_up(self) -> bool:
        said = self.call("systemctl", "is-system-running").stdout.strip()
        if said == "degraded":
            raise RigError(self.run("systemctl", "--failed", "--no-legend", "--plain"))
        return said == "running"

    def close(self) -> None:
        """Switch it off; harmless when repeated."""
        process, self._process = self._process, None
        if process is not None:
            if self._init:
                self.call("systemctl", "--force", "--force", "poweroff")  # nothing in it is worth an orderly end
            process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, *words: str | Path, user: str = "root") -> list[str]:
        """Return the command line that runs a command in it, as a user of it, with none of our environment."""
        inside = [*AS_ROOT, "nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--pid", "--root", "--wd"]
        inside += ["--", *CLEAN]
        if user != "root":
            inside += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        return [*inside, *(str(word) for word in words)]

    def call(
        self, *words: str | Path, user: str = "root", stdin: str = "", seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end, however it ends. Raises RigError when it takes too long."""
        command = self.command(*words, user=user)
        try:
            return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise RigError(f"{shlex.join(str(word) for word in words)}: not within {seconds:g} s") from None

    def run(self, *words: str | Path, user: str = "root", stdin: str = "", seconds: float = COMMAND_SECONDS) -> str:
        """Run a command in it and return what it says. Raises RigError when it fails."""
        done = self.call(*words, user=user, stdin=stdin, seconds=seconds)
        if done.returncode:
            words_said = f"{done.stdout}{done.stderr}"
            raise RigError(f"{shlex.join(str(word) for word in words)}: exit code {done.returncode}\n{words_said}")
        return done.stdout

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write one of its files whole, as root."""
        script = 'umask 077; cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
        self.run("sh", "-c", script, "sh", path, f"{mode:o}", stdin=content)

    def exists(self, path: str) -> bool:
        """Whether root finds this file in it."""
        return self.call("test", "-e", path).returncode == 0

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def journal(self, unit: str, *options: Sequence[str]) -> str:
        """Return what a unit has logged since the boot."""
        return self.run("journalctl", "--unit", unit, "--output", "cat", "--no-pager", *map(str, options))
