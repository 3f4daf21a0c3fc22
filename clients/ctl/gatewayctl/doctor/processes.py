"""Processes and the Unix sockets between them, as the kernel tells: /proc and sock_diag(7).

Command lines are everybody's to read; descriptors and environments of other users' processes are root's.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

NETLINK_SOCK_DIAG = 4  # linux/netlink.h
SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
SHOW_NAME_AND_PEER = 1 | 4  # linux/unix_diag.h: UDIAG_SHOW_NAME, UDIAG_SHOW_PEER
ATTRIBUTE_NAME, ATTRIBUTE_PEER = 0, 2
LISTENING = 10  # TCP_LISTEN, which Unix sockets use, too
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBHIIIII")  # unix_diag_req: family, protocol, pad, states, inode, show, cookie
_MESSAGE = struct.Struct("=BBBBIII")  # unix_diag_msg: family, type, state, pad, inode, cookie
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_WAIT_S = 2.0


@dataclass(frozen=True)
class UnixSocket:
    """One end of a Unix socket."""

    inode: int
    listening: bool
    name: str  # path; empty for a client's end
    peer: int  # inode of the other end; 0 when there is none


@dataclass(frozen=True)
class Process:
    """A process of this machine."""

    pid: int
    name: str  # as the kernel calls it, at most 15 letters
    arguments: tuple[str, ...]

    @property
    def shown(self) -> str:
        """Name and number."""
        return f"{self.name} ({self.pid})"

    @property
    def replaced(self) -> bool | None:
        """Whether its program was replaced on the disk since it started; None when this user may not know."""
        try:
            return (PROC / str(self.pid) / "exe").readlink().name.endswith(" (deleted)")
        except OSError:
            return None

    @property
    def environment(self) -> dict[str, str] | None:
        """The environment it was started with; None when this user may not know."""
        try:
            raw = (PROC / str(self.pid) / "environ").read_bytes()
        except OSError:
            return None
        entries = (entry.partition("=") for entry in os.fsdecode(raw).split("\0") if entry)
        return {name: value for name, _, value in entries}

    @property
    def uid(self) -> int | None:
        """Whose it is; None when it has ended."""
        try:
            return (PROC / str(self.pid)).stat().st_uid
        except OSError:
            return None


def all_processes() -> Iterator[Process]:
    """Yield every process there is."""
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (found := process(int(folder.name))) is not None:
            yield found


def process(pid: int) -> Process | None:
    """Return a process, None when it has ended."""
    folder = PROC / str(pid)
    try:
        name = (folder / "comm").read_text(errors="replace").rstrip("\n")
        arguments = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
    except OSError:
        return None
    return Process(pid, name, tuple(arguments[:-1]))


def owners(inodes: set[int]) -> dict[int, set[int]]:
    """Return, for sockets by inode, the processes that have them open, as far as this user may see."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[int]] = {inode: set() for inode in inodes}
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            links = [os.readlink(link) for link in (folder / "fd").iterdir()]  # noqa: PTH115 - of thousands
        except OSError:  # another user's, or it has ended
            continue
        for link in links:
            if link in wanted:
                found[wanted[link]].add(int(folder.name))
    return found


def lock_holder(path: Path) -> Process | None:
    """Return the process that holds a flock(2) on the file, None when nobody does."""
    try:
        inode = path.stat().st_ino
        lines = (PROC / "locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return process(int(words[4]))
    return None


def unix_sockets() -> list[UnixSocket]:
    """Return every Unix socket of this network namespace. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_WAIT_S)
        size = _HEADER.size + _REQUEST.size
        header = _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
        kernel.send(header + _REQUEST.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, SHOW_NAME_AND_PEER, 0, 0))
        found: list[UnixSocket] = []
        while True:
            data = kernel.recv(1 << 20)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    raise OSError("the kernel does not tell of its sockets")
                found.append(_parse(data[_HEADER.size : length]))
                data = data[_aligned(length) :]


def _parse(message: bytes) -> UnixSocket:
    _, _, state, _, inode, _, _ = _MESSAGE.unpack_from(message)
    name, peer = "", 0
    rest = message[_MESSAGE.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        value = rest[_ATTRIBUTE.size : length]
        if kind == ATTRIBUTE_NAME:
            name = os.fsdecode(value.rstrip(b"\0"))
        elif kind == ATTRIBUTE_PEER:
            (peer,) = struct.unpack("=I", value)
        rest = rest[_aligned(length) :]
    return UnixSocket(inode, state == LISTENING, name, peer)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
