"""The reference pages are made from the sources, and up to date."""

from __future__ import annotations

import ast

import pytest

from docs import generate, metric_words, metrics


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_is_as_its_sources_say(name: str) -> None:
    assert (generate.DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run `make docs`"


def test_each_reason_is_reached_by_a_test_and_no_other() -> None:
    assert set(generate.reason_tests()) == set(generate.reason_texts())


@pytest.mark.parametrize(
    ("reason", "test"), [(why, one) for why, all_ in generate.reason_tests().items() for one in all_]
)
def test_a_test_that_is_named_for_a_reason_asks_for_it(reason: str, test: str) -> None:
    """In its own lines, or in those of a function of its module that it calls."""
    file, _, name = test.partition("::")
    body = ast.parse((generate.ROOT / "tests/system" / file).read_text(encoding="utf-8")).body
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    called = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)} & functions.keys()
    asked = [statement for each in (name, *called) for statement in functions[each].body]
    assert f"REASON_{reason}" in ast.unparse(ast.Module(asked, [])), "its marks name a reason that it never compares"


@pytest.mark.parametrize("program", metrics.PROGRAMS)
def test_each_metric_is_told_with_all_its_labels(program: str) -> None:
    told = metrics.families(program)  # refuses a metric without advice, and labels that are not its own
    assert len(told) > 15
    assert all(family.name.startswith(program) and family.text and family.most_series for family in told)
    known = {family.name.removesuffix(metrics.SUFFIX.get(family.kind, "")) for family in told}
    assert {name for name in (*metric_words.ADVICE, *metric_words.VALUES) if name.startswith(program)} <= known, (
        "of none that is"
    )
