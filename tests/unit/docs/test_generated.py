"""The reference pages are made from the sources, and up to date."""

from __future__ import annotations

import pytest

from docs import generate


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_is_as_its_sources_say(name: str) -> None:
    assert (generate.DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run `make docs`"


def test_each_reason_is_reached_by_a_test_and_no_other() -> None:
    assert set(generate.reason_tests()) == set(generate.reason_texts())
