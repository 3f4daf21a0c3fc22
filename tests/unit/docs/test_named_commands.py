"""Every command of ours that a page names in its prose is there, with its options.

What stands in ```sh blocks is typed, by tests/system/test_documents.py.
"""

from __future__ import annotations

import pytest

from tests.unit.docs.our_commands import PROGRAMS, command_of
from tests.unit.docs.test_documents import CODE, PAGES, ROOT, prose


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    for code in CODE.findall(prose((ROOT / page).read_text(encoding="utf-8"))):
        words = code.split()
        if words and words[0] in PROGRAMS:
            command_of(words)


@pytest.mark.parametrize(
    "code", ["centrald nothing", "centrald kiosk nothing", "gatewayctl status --nothing", "cardsim fault list -z"]
)
def test_what_is_not_there_is_found(code: str) -> None:
    with pytest.raises(LookupError, match="no such"):
        command_of(code.split())


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("centrald COMMAND --help", "COMMAND"),
        ("gatewayctl attempts --unresolved", "attempts"),
        ("cardsim fault list --json", "list"),
    ],
)
def test_what_is_there_is_known_by_its_name(code: str, name: str) -> None:
    assert command_of(code.split()) == name
