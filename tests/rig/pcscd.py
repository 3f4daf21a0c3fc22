"""A private PC/SC service with virtual readers: needs no privilege and never disturbs the system's own.

The client library takes its socket from PCSCLITE_CSOCK_NAME. The service does not: socket, pid file and the folder of
USB drivers are compiled in. So a copy of the program gets other paths of the same length, and its socket is handed over
already listening, the way systemd does. The virtual reader's driver keeps its sockets in static storage, so every
reader has its own copy of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import string
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.rig import watchful
from tests.rig.process import DIES_WITH_PARENT, ROOT, Process, RigError, run

PROGRAM = Path("/usr/sbin/pcscd")
DRIVER = ROOT / ".cache/vpcd/libifdvpcd.so"  # unpacked by `make`, never installed: its package configures a reader
COMPILED_IN_RUN = b"/run/pcscd"
COMPILED_IN_USB_DRIVERS = b"/usr/lib/pcsc/drivers"
PREFIX = "vr"  # of the private folders' names
NAME_LETTERS = string.ascii_lowercase + string.digits
PORTS = range(20_000, 32_000, 2)  # below the ephemeral range (Linux: from 32768), a pair for each reader's two slots
SLOTS = 2
ATTEMPTS = 10
ABANDONED_SECONDS = 60
NOBODY = 65_534

KIOSK = "Kiosk"
PHONE = "Phone"

# The listening socket arrives as standard input and becomes descriptor 3, sd_listen_fds(3)'s first.
HAND_OVER = 'exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec "$@"'


@dataclass(frozen=True)
class VirtualReader:
    """One reader as PC/SC names it, and the TCP port on 127.0.0.1 where its card connects."""

    name: str
    port: int


class PrivatePcscd:
    """The service with one virtual reader for each given name, from `start` (or `with`) to `close`."""

    def __init__(
        self,
        readers: Sequence[str] = (KIOSK, PHONE),
        *,
        log: Path | None = None,
        as_nobody: bool = False,
        looks_when_told: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        """With `looks_when_told` it looks at its readers not only every 0.4 s, but also at each `look`.

        `arguments` are added to its command line.
        """
        self._names = tuple(readers)
        self._log = log
        self._as_nobody = as_nobody
        self._arguments = tuple(arguments)
        self._looks_when_told = looks_when_told
        self._folder: Path | None = None
        self._lock: int | None = None
        self._process: Process | None = None
        self._plugged: list[VirtualReader] = []
        self.readers: dict[str, VirtualReader] = {}

    @property
    def directory(self) -> Path:
        """The private folder. Raises RigError outside `start` … `close`."""
        if self._folder is None:
            raise RigError("the private pcscd is not started")
        return self._folder

    @property
    def csock(self) -> Path:
        """The socket, to be given to clients as PCSCLITE_CSOCK_NAME."""
        return self.directory / "pcscd.comm"

    @property
    def log(self) -> Path:
        """Where the service's output goes."""
        return self._log or self.directory / "pcscd.log"

    @property
    def environment(self) -> dict[str, str]:
        """What clients need in their environment."""
        return {"PCSCLITE_CSOCK_NAME": str(self.csock)}

    @property
    def pid(self) -> int:
        """The service's process id."""
        if self._process is None:
            raise RigError("the private pcscd does not run")
        return self._process.pid

    def start(self) -> Self:
        """Start the service and wait until all readers are listed. Raises RigError."""
        if not DRIVER.exists():
            raise RigError(f"{DRIVER} is missing: run `make rig` once")
        sweep()
        try:
            self._make_directory()
            for attempt in range(1, ATTEMPTS + 1):
                self._configure()
                self._launch()
                try:
                    self._wait_for_readers()
                except RigError:  # a port was taken in the meantime: the service then runs without that reader
                    if attempt == ATTEMPTS:
                        raise
                    self.stop()
                else:
                    break
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """End the service (SIGTERM); its paths stay, so that `resume` is possible."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the service a signal; after SIGKILL or SIGTERM wait until it has ended."""
        if self._process is None:
            raise RigError("the private pcscd does not run")
        self._process.signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait()
            self._process = None

    def resume(self, readers: Sequence[str] | None = None, *, wait: bool = True) -> None:
        """Start the service again after `stop` or `kill`: same socket path, same ports.

        With `readers` it has those only; without, all that there were at first. Without `wait` it need not have found
        them yet.
        """
        self._write_configuration(self._names if readers is None else readers)
        self._launch()
        if wait:
            self._wait_for_readers()

    def restart(self) -> None:
        """Stop the service and start it again on the same paths."""
        self.stop()
        self.resume()

    def close(self) -> None:
        """End the service and remove everything it left; harmless when repeated."""
        try:
            self.stop()
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
            self.readers = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_directory(self) -> None:
        for _ in range(1000):
            suffix = "".join(random.choices(NAME_LETTERS, k=len(COMPILED_IN_RUN) - len("/tmp/") - len(PREFIX)))
            folder = Path("/tmp") / f"{PREFIX}{suffix}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                self._folder = folder
                break
        else:
            raise RigError("no free name for a private folder in /tmp")
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # says to `sweep` that somebody lives here
        no_usb_drivers = str(folder / "no-drivers").encode().ljust(len(COMPILED_IN_USB_DRIVERS), b"/")
        program = PROGRAM.read_bytes()
        program = program.replace(COMPILED_IN_RUN, str(folder).encode())
        program = program.replace(COMPILED_IN_USB_DRIVERS, no_usb_drivers)
        copy = folder / "pcscd"
        copy.write_bytes(program)
        copy.chmod(0o700)
        (folder / "no-drivers").mkdir()
        (folder / "conf").mkdir()
        for name in self._names:
            shutil.copy(DRIVER, folder / f"{name}.so")
        if self._as_nobody:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)

    def _configure(self) -> None:
        ports = zip(self._names, free_port_pairs(len(self._names)), strict=True)
        self.readers = {name: VirtualReader(f"{name} 00 00", port) for name, port in ports}
        self._write_configuration(self._names)

    def _write_configuration(self, names: Sequence[str]) -> None:
        """Say which readers are plugged in; a running service does not look again."""
        self._plugged = [self.readers[name] for name in names]
        entries = [
            f'FRIENDLYNAME "{name}"\n'
            f"DEVICENAME /dev/null:{self.readers[name].port}\n"
            f"LIBPATH {self.directory}/{name}.so\n"
            f"CHANNELID {self.readers[name].port}\n"
            for name in names
        ]
        (self.directory / "conf/readers").write_text("\n".join(entries))

    def _launch(self) -> None:
        if self._process is not None:
            raise RigError("the private pcscd runs already")
        self.csock.unlink(missing_ok=True)  # SIGKILL leaves it
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.csock))
            if self._as_nobody:
                os.chown(self.csock, NOBODY, NOBODY)
            listener.listen(16)
            user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if self._as_nobody else ()
            self._process = Process(
                "pcscd",
                [self.directory / "pcscd", "--foreground", "--config", self.directory / "conf", *self._arguments],
                log=self.log,
                env=watchful.environment(self._moved) if self._looks_when_told else {},
                stdin=listener.fileno(),
                prefix=("sh", "-c", HAND_OVER, "sh", "setpriv", *user, *DIES_WITH_PARENT[1:]),
            )

    def look(self) -> None:
        """Let a service that looks when told look at its readers now; another does so when its time comes."""
        if self._looks_when_told:
            os.utime(self._moved)

    @property
    def _moved(self) -> Path:
        return self.directory / "moved"

    def wait_until_empty(self) -> None:
        """Wait until no card is seen in any reader. Raises RigError.

        The service looks every 0.4 s: a card that replaces another one in between is taken for the same, and is not
        powered.
        """
        self._wait_for_readers("--empty")

    def _wait_for_readers(self, *options: str) -> None:
        names = [reader.name for reader in self._plugged]
        script = Path(__file__).with_name("readers.py")
        run([sys.executable, script, *options, *names], env=self.environment)


def free_port_pairs(count: int) -> Iterator[int]:
    """Yield the first ports of pairs that were free a moment ago. Raises RigError when none is found."""
    found = 0
    for port in random.sample(PORTS, k=len(PORTS)):
        if found == count:
            return
        if all(_is_free(port + slot) for slot in range(SLOTS)):
            found += 1
            yield port
    raise RigError("no free pair of ports")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # as the driver does, which cannot be told otherwise
        except OSError:
            return False
        return True


def sweep() -> None:
    """Remove the private folders whose owner was killed before it could do so itself."""
    for folder in Path("/tmp").glob(f"{PREFIX}???"):
        with contextlib.suppress(OSError):
            if not (folder / "no-drivers").is_dir() or time.time() - folder.stat().st_mtime < ABANDONED_SECONDS:
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)
