"""What holds the typed secrets in the page, run by Node.js; and the rules it shares with the daemon."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import jpki_kiosk
from gatewayd.dialogue import policy
from tests.rig.foreign import NODE
from tests.rig.process import run

SCRIPTS = Path(jpki_kiosk.__file__).parent / "static/js"
EASY = ["AAA111", "ABC123", "123ABC", "CBA321", "A1B2C3", "AAAAA1", "1ABCDEF", "ZYXW98"]
HARD = ["K7M2Q9", "NEWPASS1", "K7M2QX", "ACE135", "A1928374", "AB12CE", "QWERTY1"]


def told_by(script: str) -> object:
    """Run a module beside the page's own and return what it prints as JSON."""
    module = f"import * as secret from {json.dumps((SCRIPTS / 'secret.js').as_uri())};{script}"
    return json.loads(run([NODE, "--input-type=module", "--eval", module]))


def test_what_is_typed_is_kept_in_bytes_that_can_be_wiped() -> None:
    told = told_by(
        """
        const one = new secret.Secret(4), other = new secret.Secret(4), told = {};
        for (const code of [1, 2, 3, 4, 5]) one.add(code);
        told.longest = one.length;
        const copy = one.copy();
        other.add(1);
        told.shorter = one.equals(other);
        for (const code of [2, 3, 4]) other.add(code);
        told.same = one.equals(other);
        one.back();
        told.back = [...one.copy()];
        told.untouched = [...copy];
        one.wipe();
        one.back();
        told.wiped = [one.length, [...one.copy()]];
        for (const code of [9, 9]) one.add(code);
        told.again = [...one.copy()];
        told.some = [one.some(secret.isDigit), one.some(secret.isLetter)];
        console.log(JSON.stringify(told));
        """
    )
    assert told == {
        "longest": 4,
        "shorter": False,
        "same": True,
        "back": [1, 2, 3],
        "untouched": [1, 2, 3, 4],
        "wiped": [0, []],
        "again": [9, 9],
        "some": [False, False],
    }


def test_easy_passwords_are_known_and_others_left_alone() -> None:
    told = told_by(
        f"""
        const judged = {json.dumps(EASY + HARD)}.map((word) => {{
          const one = new secret.Secret(16);
          for (const character of word) one.add(character.charCodeAt(0));
          return secret.isEasyToGuess(one);
        }});
        console.log(JSON.stringify([...judged, secret.isEasyToGuess(new secret.Secret(16))]));
        """
    )
    assert told == [True] * len(EASY) + [False] * len(HARD) + [False]


@pytest.mark.parametrize("name", ["SHORTEST", "LONGEST"])
def test_the_page_knows_the_daemons_rules(name: str) -> None:
    (value,) = re.findall(rf"^const {name} = (\d+);", (SCRIPTS / "pads.js").read_text(), re.MULTILINE)
    assert int(value) == getattr(policy, name)


def test_the_page_has_no_field_store_or_foreign_address() -> None:
    text = "".join(path.read_text() for path in SCRIPTS.glob("*.js"))
    for word in (
        "<input",
        "localStorage",
        "sessionStorage",
        "indexedDB",
        "cookie",
        "console.",
        "eval(",
        "http:",
        "https:",
    ):
        assert word not in text
    templates = "".join(path.read_text() for path in SCRIPTS.parents[1].joinpath("templates").glob("*.html"))
    for word in ("<input", "<form", "<script>", " style=", "javascript:", " onclick"):
        assert word not in templates
