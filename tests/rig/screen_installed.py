"""The kiosk's screen as an operator installs it, in a booted throw-away system, with a panel that is memory.

Chromium, the compositor and seatd are those of this machine: its `/usr` lies below the throw-away system's own. The
compositor gets a headless output in place of a graphics card; the seat and its terminal are real where the kernel has
terminals (the last of them, which nobody looks at, stands for the first).
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from tests.rig.installed import PATIENCE_SECONDS
from tests.rig.nspawn import Machine, make_tree
from tests.rig.process import ROOT, run, wait_until

FOLDER = ROOT / "systemd/kiosk"
SERVER, SCREEN, SEAT = "jpki-kiosk.service", "jpki-screen.service", "seatd.service"
SERVER_USER, SCREEN_USER = "jpki-kiosk", "jpki-screen"
ADDRESS = "http://127.0.0.1:8180/"
RUNTIME = "/run/jpki-screen"
PROFILE = f"{RUNTIME}/profile"
PAGE_THERE = '"page there"'  # as the server logs it
LOCK = ROOT / "requirements/screen.txt"
SECTION = re.compile(r"^## \d+\. The screen$.*?(?=^## )", re.MULTILINE | re.DOTALL)
ENVIRONMENT = "/opt/jpki-kiosk"

TERMINAL, LAST_TERMINAL = Path("/dev/tty0"), Path("/dev/tty63")
CONFIGURATION = ("/etc/fonts", "/etc/chromium.d")  # of what the machine's own /usr brings
HEADLESS = "[Service]\nEnvironment=WLR_BACKENDS=headless,libinput WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman\n"
NO_TERMINAL = {SCREEN: "[Unit]\nConditionPathExists=\n", SEAT: "[Service]\nEnvironment=SEATD_VTBOUND=0\n"}


def typed_commands() -> list[str]:
    """Return the section's commands, but for those that fetch what is installed."""
    section = SECTION.search((ROOT / "docs/INSTALL.md").read_text())
    assert section
    return re.findall(r"^(?:install|ln|systemd-sysusers|systemctl) .+$", section[0], flags=re.MULTILINE)


def make_environment(environment: Path, folder: Path, put: Callable[[Path, Path], object]) -> None:
    """Make a virtual environment of our two wheels, built in `folder`, and the rest of the list in its versions.

    The rest is `put` there from our own environment: fetching it would need a network.
    """
    # The build of the contracts makes the stubs anew, which other tests are using.
    protos = shutil.copytree(ROOT / "protos", folder / "protos", ignore=shutil.ignore_patterns("gen", "gen.*"))
    wheels = [
        next(WheelBuilder(str(part)).build(directory=str(folder / "wheels"), versions=["standard"]))
        for part in (ROOT / "clients/kiosk", protos)
    ]
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", environment / "bin/python"]
    run([*pip, "install", "--no-index", "--no-deps", *wheels])
    (packages,) = environment.glob("lib/python3*/site-packages")
    for name in locked():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
            if not (packages / top).exists():
                put(Path(str(distribution.locate_file(top))), packages / top)


def locked() -> list[str]:
    """Return the distributions that are installed beside our own two."""
    lines = LOCK.read_text().splitlines()
    return [
        line.partition("==")[0] for line in lines if re.match(r"\w", line) and "sys_platform == 'win32'" not in line
    ]


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def machine_with_a_panel(directory: Path, shown: dict[str, Path]) -> Machine:
    """Return the throw-away system, not yet booted, that has what the kiosk's page says is to be installed."""
    environment = directory / "environment"
    make_environment(environment, directory, copy)
    for script in (environment / "bin").iterdir():
        if not script.is_symlink():
            script.write_text(script.read_text().replace(str(environment), ENVIRONMENT))
    tree = make_tree()
    options = [f"--overlay=/usr:{tree}/usr::/usr", *(f"--bind-ro={folder}" for folder in CONFIGURATION)]
    if TERMINAL.exists():
        options += [f"--bind={TERMINAL}", f"--bind={LAST_TERMINAL}:/dev/tty1", "--capability=CAP_SYS_TTY_CONFIG"]
    shown = {**shown, "/mnt/kiosk": FOLDER, ENVIRONMENT: environment}
    return Machine(tree, log=directory / "console.log", shown=shown, options=options)


class InstalledScreen:
    """The two units, their users, and what they say."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def give_a_panel(self) -> None:
        """Put what stands for the panel where the units find it. The units themselves stay as they are."""
        drop_ins = {SCREEN: HEADLESS}
        if not TERMINAL.exists():
            drop_ins = {unit: text + drop_ins.get(unit, "") for unit, text in NO_TERMINAL.items()}
        for unit, text in drop_ins.items():
            self.machine.run("mkdir", "-p", f"/run/systemd/system/{unit}.d")
            self.machine.write(f"/run/systemd/system/{unit}.d/panel.conf", text)

    def install(self) -> str:
        """Type what the page says and return what is said to it."""
        said = []
        for command in typed_commands():
            done = self.machine.call("sh", "-c", f"cd /mnt && {command}")
            assert done.returncode == 0, (command, done.stderr)
            said.append(done.stderr)
        return "".join(said)

    def pages(self) -> int:
        """Return how many pages the server has seen so far."""
        return self.machine.journal(SERVER).count(PAGE_THERE)

    def wait_page(self, before: int) -> None:
        """Wait until the browser's page has opened its stream of events once more. Raises RigError."""
        wait_until(lambda: self.pages() > before, PATIENCE_SECONDS, "the browser's page")

    def asked(self) -> tuple[int, str]:
        """Return the code and the text of the document that another browser would get."""
        try:
            with urllib.request.urlopen(ADDRESS, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def processes(self, unit: str) -> dict[int, str]:
        """Return the command lines of a unit's processes, which are those of its control group."""
        group = self.machine.shown(unit, "ControlGroup")
        listing = (
            'for p in $(cat "/sys/fs/cgroup$1/cgroup.procs"); do echo "$p $(tr "\\0" " " <"/proc/$p/cmdline")"; done'
        )
        said = self.machine.call("sh", "-c", listing, "sh", group).stdout if group else ""
        return {int(number): words for number, _, words in (line.partition(" ") for line in said.splitlines())}

    def within(self, unit: str, *words: str) -> list[str]:
        """Return the command line that runs a command where a unit's control group confines it, as root."""
        group = self.machine.shown(unit, "ControlGroup")
        return ["sh", "-c", 'echo $$ >"/sys/fs/cgroup$0/cgroup.procs" && exec "$@"', group, *words]

    def status(self, process: int) -> dict[str, str]:
        """Return what the kernel says of a process."""
        lines = self.machine.run("cat", f"/proc/{process}/status").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def namespaces(self, process: int) -> dict[str, str]:
        """Return the namespaces of a process, and its root directory."""
        names = ("ns/user", "ns/pid", "ns/net", "root")
        said = self.machine.run("readlink", *(f"/proc/{process}/{name}" for name in names)).splitlines()
        return dict(zip(names, said, strict=True))
