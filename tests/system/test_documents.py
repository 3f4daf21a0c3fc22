"""The commands of the pages, typed as they stand there.

Each line of each ```sh block is one of three: run here, in order, on a stack that serves; a `make` target, whose recipe
is what other tests run; or in `ELSEWHERE`, with the test that runs the same for real where it needs root, a whole
machine, or a file of its own. A line that is none of them fails.
"""

from __future__ import annotations

import ast
import datetime
import grp
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from centrald import pki
from gatewayctl import texts
from tests.rig.crl import crl
from tests.rig.process import ROOT, run
from tests.rig.secrecy import PASSWORD_LENGTH
from tests.rig.site import LOCKED, Site
from tests.rig.stack import Stack, publish

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?<!\S)#.*$")
SECONDS = 30.0
USER_PIN = "1357"
TAKE_THE_CARD = texts.REMINDERS[0]
PASSWORD = "DOCUMENT5".ljust(PASSWORD_LENGTH, "X")

# In the order in which a reader would type them. What one page makes, a later one may use.
TYPED = ["README.md", "docs/INSTALL.md", "docs/OPERATIONS.md", "docs/DOCTOR.md", "docs/CENTRAL.md", "docs/FRONTEND.md"]
TYPED += ["docs/RUNBOOKS.md", "docs/CARDSIM.md", "docs/PERFORMANCE.md", "docs/METRICS.md", "CONTRIBUTING.md"]

OURS = {"cardsim", "centrald", "gatewayctl", "jpki-phone", "mkdir", "python"}
STDIN = {"jpki-phone reserve": f"{USER_PIN}\n", "gatewayctl reset": f"{USER_PIN}\n{PASSWORD}\n{PASSWORD}\n"}
SET_UP = "PATH=.venv/bin:$PATH; set -a; . .run/env; set +a"  # holds for all that follows it

PACKAGE = "tests/system/test_package.py"
TYPED_THERE = f"{PACKAGE}::test_what_the_page_says_can_be_typed"
POSTGRES = "tests/unit/centrald/test_migration.py::test_the_command_goes_down_only_when_told_twice"
SERVE = "tests/integration/test_centrald_process.py::test_it_says_where_it_serves_and_stops_cleanly"
FAULTS = "tests/integration/test_cardsim_faults.py::test_the_examples_of_the_document"
EXAMPLES = "tests/system/test_front_end_page.py::start"
SCREEN = "tests/integration/test_screen_installation.py"
SCREEN_UNITS = "tests/system/test_screen_units.py::test_what_the_page_says_installs_and_starts_it"
LAUNCHER = "tests/integration/test_kiosk_launcher.py"
LAUNCHED = "test_browser_shows_the_screen_on_the_whole_panel_and_keeps_nothing"
RUNBOOKS = "tests/unit/docs/test_runbooks.py::test_a_page_says_all_there_is_to_say"

# The command, or a pattern of it, → the test that runs it, and what of it stands in that test's module.
ELSEWHERE: dict[str, tuple[str, str]] = {
    r"make demo": ("tests/system/test_commands.py::test_demo_holds_what_it_claims", "tests.rig.demo"),
    r"make stack": ("tests/system/test_commands.py::test_stacks_run_side_by_side_and_leave_nothing", "tests.rig.stack"),
    r"make kiosk": ("tests/system/test_commands.py::test_kiosk_can_be_played", "tests.rig.kiosk"),
    r"make deb( DEB_ARGS=--check)?": (f"{PACKAGE}::test_install", "package_in"),
    r"make screen-wheels": (f"{SCREEN}::installation", "make_environment"),
    r"apt install .*cage xwayland.*": (f"{LAUNCHER}::{LAUNCHED}", '"cage"'),
    r"python3 -m venv /opt/jpki-kiosk": (f"{SCREEN}::installation", "make_environment"),
    r"/opt/jpki-kiosk/bin/pip install .*": (f"{SCREEN}::installation", "make_environment"),
    r"(install|ln) .*kiosk/.*": (SCREEN_UNITS, "screen.install()"),
    r"systemd-sysusers .*": (SCREEN_UNITS, "screen.install()"),
    r"systemctl enable --now jpki-kiosk jpki-screen": (SCREEN_UNITS, "screen.install()"),
    r"apt install \./gatewayd_0\.1\.0_amd64\.deb": (f"{PACKAGE}::test_upgrade_keeps_the_journal", '"--install"'),
    r"apt remove gatewayd": (f"{PACKAGE}::test_remove_keeps_the_journal_and_what_the_operator_made", '"--remove"'),
    r"apt purge gatewayd": (f"{PACKAGE}::test_purge_leaves_nothing", '"--purge"'),
    r"(systemctl|journalctl|gatewayd) .*": (TYPED_THERE, "docs/OPERATIONS.md"),
    r"(install|cp|usermod) .*": (TYPED_THERE, "docs/INSTALL.md"),
    r"createdb centrald": (POSTGRES, ".create()"),
    r"centrald init .*--storage-url .*": (POSTGRES, "--storage-url"),
    r"centrald serve --directory DIR": (SERVE, 'centrald("serve"'),
    r"cardsim fault .*": (FAULTS, "CARDSIM.md"),
    r"PYTHONPATH=stubs python clients/examples/reset_client\.py .*": (EXAMPLES, "reset_client.py"),
    r"node clients/examples/reset_client\.mjs .*": (EXAMPLES, "reset_client.mjs"),
}
BY_MAKE = {"test", "lint", "format", "docs"}  # what `make test` does itself, or compares with
RECIPES = ("-m tests.rig.", "check-", "build.py", "pip wheel", "ruff format", "-m docs.generate")
ONLY_LOOKS = re.compile(r"(df|journalctl|ls|openssl|promtool|ss|systemctl|timedatectl)\b")


class Line(NamedTuple):
    """One line to be typed."""

    page: str
    text: str

    @property
    def program(self) -> str:
        return self.text.split()[0]


def lines_of(page: str) -> list[Line]:
    text = (ROOT / page).read_text(encoding="utf-8")
    typed = (COMMENT.sub("", line).strip() for block in BLOCK.findall(text) for line in block.splitlines())
    return [Line(page, line) for line in typed if line]


def elsewhere(line: Line) -> tuple[str, str] | None:
    if line.page == "docs/RUNBOOKS.md" and ONLY_LOOKS.match(line.text):
        return RUNBOOKS, "HARMLESS"
    return next((where for pattern, where in ELSEWHERE.items() if re.fullmatch(pattern, line.text)), None)


class Desk:
    """A folder in which the pages' commands find what they name, and a shell for them."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.typed: set[str] = set()
        (folder / ".venv").symlink_to(ROOT / ".venv")
        (folder / ".run").symlink_to(stack.directory)
        (folder / "protos").symlink_to(ROOT / "protos")

    def type(self, line: Line) -> None:
        """Type a line, with an attempt of this kiosk where the page says ATTEMPT; the same line only once."""
        text = line.text
        if "ATTEMPT" in text.split():
            text = text.replace("ATTEMPT", self._attempt())
        if text in self.typed:
            return
        self.typed.add(text)
        said, code = self._shell(text)
        assert code == 0, f"{line.page}: {text}\n{said}"

    def _shell(self, text: str) -> tuple[str, int]:
        """Run a line as its reader would, who takes the card when asked to; return what was said, and the exit code."""
        with subprocess.Popen(
            ["sh", "-euc", f"{SET_UP}\n{text}"],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as shell:
            assert shell.stdin
            assert shell.stdout
            shell.stdin.write(STDIN.get(text, ""))
            shell.stdin.close()
            said = ""
            for line in shell.stdout:
                said += line
                if line.startswith(TAKE_THE_CARD):
                    self.stack.cardsim.remove("kiosk")
            return said, shell.wait(SECONDS)

    def _attempt(self) -> str:
        """Return an attempt's id; where there is none yet, one is begun and cancelled by the end of input."""
        known, _ = self._shell("gatewayctl attempts --json")
        if not known:
            self._shell("gatewayctl reset")
            known, _ = self._shell("gatewayctl attempts --json")
        return str(json.loads(known.splitlines()[0])["attempt"]["attempt_id"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Desk]:
    """A stack as `make stack` starts it, with one card; its sockets are a group's, as in a shop."""
    folder = tmp_path_factory.mktemp("desk")
    one_card = site.copy(folder / "site")
    for path in one_card.cards.glob("*.json"):
        if path != one_card.card(LOCKED):
            path.unlink()
    with Stack(folder / "stack", site=one_card, insert_into="phone") as stack:
        group = grp.getgrgid(os.getegid()).gr_name
        text = stack.gatewayd.config.read_text()
        text = re.sub(r"^\[(api|operators)\]$", rf'[\1]\ngroup = "{group}"', text, flags=re.MULTILINE)
        stack.gatewayd.config.write_text(text)
        stack.gatewayd.restart()
        publish(stack)
        lay_out(stack.site, folder)
        yield Desk(stack, folder)


def lay_out(site: Site, folder: Path) -> None:
    """Put what others hand over to an operator into the folder: a registry of issuance, a revocation list."""
    shutil.copy(site.cards / "registry.jsonl", folder / "cards.jsonl")
    authority = site.central / "authority"
    user = pki.load(authority / "user-ca.pem", authority / "user-ca.key")
    (folder / "users.crl").write_bytes(crl(user, datetime.datetime.now(datetime.UTC)))


@pytest.mark.parametrize("page", TYPED)
@pytest.mark.timeout(120)
def test_commands_can_be_typed(desk: Desk, page: str) -> None:
    for line in lines_of(page):
        if line.text == SET_UP or elsewhere(line) or line.text.startswith("make "):
            continue
        assert line.program in OURS, f"{page}: who runs `{line.text}`? Nobody here, and nobody in ELSEWHERE"
        desk.type(line)


def test_commands_of_others_are_run_by_the_test_that_is_named() -> None:
    for test, needle in {*ELSEWHERE.values(), (RUNBOOKS, "HARMLESS")}:
        path, _, function = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        names = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
        names |= {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AsyncFunctionDef)}
        assert function in names, test
        assert needle in text, f"{path} does not say {needle}"


def test_nothing_is_listed_that_no_page_has() -> None:
    everything = [line.text for page in TYPED for line in lines_of(page)]
    assert not [pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, text) for text in everything)]


def test_every_page_with_commands_is_typed() -> None:
    pages = run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]).split()
    assert not [page for page in pages if lines_of(page) and page not in TYPED]


@pytest.mark.parametrize(
    "command", sorted({line.text for page in TYPED for line in lines_of(page) if line.text.startswith("make ")})
)
def test_targets_have_a_recipe(command: str) -> None:
    """What `make` would do for it; the recipes are run by the tests named above, or are what `make test` does."""
    recipe = run(["sh", "-c", f"cd {ROOT} && {command} --dry-run --always-make --no-print-directory 2>&1 | tail -n 40"])
    target = command.split()[1]
    assert elsewhere(Line("", command)) or target in BY_MAKE, f"which test runs `{command}`?"
    assert any(words in recipe for words in RECIPES)
