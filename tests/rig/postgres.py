"""A private PostgreSQL from Debian's package: on a Unix socket only, gone with its folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.rig.process import COMMAND_SECONDS, Process, run, wait_until

SUPERUSER = "postgres"
START_SECONDS = 20.0
_CONNECTIONS = 120
_EASY = ("fsync=off", "full_page_writes=off")  # what a test writes need not survive the machine


def programs() -> Path:
    """Return the folder of the newest installed version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent


class Postgres:
    """One running server. Root has it run by the package's user, for it refuses to run as root."""

    def __init__(self, *, durable: bool = False) -> None:
        """Make and start it; `durable`: with every commit synced, as in production."""
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # short: a socket's path has 107 bytes
        self._process: Process | None = None
        try:
            self._start(durable=durable)
        except BaseException:
            self.stop()
            raise

    def _start(self, *, durable: bool) -> None:
        self._as: tuple[str, ...] = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam(SUPERUSER)
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = ("--reuid", user.pw_name, "--regid", str(user.pw_gid), "--clear-groups")
        self._folder.chmod(0o755)
        data = self._folder / "data"
        initdb = (programs() / "initdb", "-D", data, "-U", SUPERUSER, "--auth=trust", "--no-sync", "--no-instructions")
        prefix = ("setpriv", *self._as, "--") if self._as else ()
        run([*prefix, *initdb, "--locale=C", "--encoding=UTF8"])
        settings = ["listen_addresses=", f"max_connections={_CONNECTIONS}", *(() if durable else _EASY)]
        words = [word for setting in settings for word in ("-c", setting)]
        self._process = Process(
            "postgres",
            [programs() / "postgres", "-D", data, "-k", self._folder, *words],
            log=self._folder / "log",
            prefix=("setpriv", "--pdeathsig", "QUIT", *self._as, "--"),
        )
        output = self._process.output
        wait_until(lambda: "ready to accept connections" in output(), START_SECONDS, "postgres")

    @property
    def pid(self) -> int:
        """The server's main process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """Return a database's URL for the service."""
        return f"postgresql+asyncpg://{SUPERUSER}@/{database}?host={self._folder}"

    def execute(self, statement: str, database: str = "postgres", seconds: float = COMMAND_SECONDS) -> str:
        """Carry out a statement and return what it prints, unaligned."""
        where = ("-h", self._folder, "-U", SUPERUSER, "-d", database)
        return run([programs() / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *where, "-c", statement], seconds=seconds)

    def create(self, template: str = "template1") -> str:
        """Make a database from a template and return its name."""
        name = f"d{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let none of its processes run: it takes connections, and answers nothing."""
        processes = [self.pid, *_children(self.pid)]  # each of which has a session of its own
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def stop(self) -> None:
        """End it, and remove all it kept."""
        if self._process is not None:
            self._process.signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            self._process.wait()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _children(pid: int) -> list[int]:
    return [
        int(child) for listed in Path(f"/proc/{pid}/task").glob("*/children") for child in listed.read_text().split()
    ]
