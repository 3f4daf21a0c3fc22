"""Writes the reference pages that are made from the sources: `make docs`. A test holds them equal to the sources.

REASONS.md comes from the comments of `reason.proto` and from the tests marked `@pytest.mark.reason("NAME")`;
DIALOGUE.md from the dialogue's table; METRICS.md from both programs' metrics and the alert rules; DOCTOR.md from what
the doctor's checks can say; the dashboards from `docs.dashboards`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from docs import dashboards, doctor, metrics
from gatewayd.dialogue.events import Failed
from gatewayd.dialogue.table import HUMAN, LOOKS, TABLE, End, Go, Step, When

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

LABELS = ("What", "Try", "Card", "Reservation", "Citizen", "Operator")
PREFIX = "REASON_"
ENUM_VALUE = (5, 0, 2)  # path of enum_type[0].value[…] in a file's source information; descriptor.proto

NOTICE = "<!-- Made by `make docs`; edits are lost. -->\n"


def reason_texts() -> dict[str, dict[str, str]]:
    """Return each reason's labelled lines. Raises ValueError for one that lacks a label."""
    raw = resources.files("jpkireset").joinpath("descriptors.binpb").read_bytes()
    file = next(f for f in FileDescriptorSet.FromString(raw).file if f.name.endswith("gateway/v1/reason.proto"))
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    texts = {}
    for index, value in enumerate(file.enum_type[0].value):
        if value.number == 0:
            continue
        lines = re.findall(r"^ ?(\w+): (\S.*)$", comments[(*ENUM_VALUE, index)], flags=re.MULTILINE)
        if tuple(label for label, _ in lines) != LABELS:
            raise ValueError(f"{value.name} does not say all of {', '.join(LABELS)}")
        texts[value.name.removeprefix(PREFIX)] = dict(lines)
    return texts


def reason_tests() -> dict[str, list[str]]:
    """Return, by reason, the tests that reach it by a real cause, as file and name."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests" / "system").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for reason in _marked(node):
                    found[reason].append(f"{path.name}::{node.name}")
    return dict(found)


def _marked(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.reason":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def reasons_page() -> str:
    """Return docs/REASONS.md."""
    tests = reason_tests()
    rows = [
        f"| `{name}` | {' | '.join(texts[label] for label in LABELS)} | {_cell(tests.get(name, []))} |"
        for name, texts in reason_texts().items()
    ]
    head = ["Reason", "What happened", *LABELS[1:], "Reached by a real cause in `tests/system`"]
    return "\n".join(
        [
            NOTICE,
            "# Reasons",
            "",
            "Why an attempt ended other than done. A reason is read together with the outcome: with *unknown* the card",
            "may have been changed, whatever the reason says of an attempt that was *not done*.",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *rows,
            "",
        ]
    )


def _cell(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


def dialogue_page() -> str:
    """Return docs/DIALOGUE.md."""
    steps = [
        f"| {_name(step)} | {look.state.name} | {look.request.name} | "
        f"{'a person' if step in HUMAN else 'the machine'} | {f'{look.idle_s:g} s' if look.idle_s else '–'} |"
        for step, look in LOOKS.items()
    ]
    return "\n".join(
        [
            NOTICE,
            "# The dialogue",
            "",
            "One attempt as a table of steps. The arrows show where an attempt goes on; the endings, which lead",
            "through the tail to REMOVE_CARD or FINISHED, are listed below. What holds an arrow back, and what is",
            "done on the way, stands in `gatewayd/dialogue/table.py`.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> admitting",
            *sorted({f"    {_name(a)} --> {_name(b)}: {event}" for a, event, b in _arrows() if a is not b}),
            "    finished --> [*]",
            "```",
            "",
            "| Step | State shown | Card asked for | Waits for | Idle limit |",
            "|---|---|---|---|---|",
            *steps,
            "",
            "| Step | Event | Outcome | Reason |",
            "|---|---|---|---|",
            *_endings(),
            "",
            "While a change may have been made, an ending as NOT_DONE is told as UNKNOWN with OUTCOME_UNRESOLVED.",
            "",
        ]
    )


def _name(step: Step) -> str:
    return step.name.lower()


def _targets() -> Iterator[tuple[Step, str, Go | End]]:
    for step, rules_of in TABLE.items():
        for kind, rules in rules_of.items():
            for rule in rules:
                yield step, kind.__name__, rule.then if isinstance(rule, When) else rule


def _arrows() -> Iterator[tuple[Step, str, Step]]:
    for step, event, target in _targets():
        if isinstance(target, Go):
            yield step, event, target.step


def _endings() -> list[str]:
    endings = defaultdict(list)
    for step, event, target in _targets():
        if isinstance(target, End):
            own = "the failure's own" if event == Failed.__name__ else "–"
            endings[event, target.outcome.name, target.reason.name if target.reason else own].append(_name(step))
    return [f"| {', '.join(steps)} | {event} | {said} | {why} |" for (event, said, why), steps in endings.items()]


PAGES: dict[str, Callable[[], str]] = {
    "REASONS.md": reasons_page,
    "DIALOGUE.md": dialogue_page,
    "METRICS.md": functools.partial(metrics.page, NOTICE),
    "DOCTOR.md": functools.partial(doctor.page, NOTICE),
    **{
        f"../systemd/dashboards/{name}.json": functools.partial(dashboards.dashboard, name) for name in metrics.PROGRAMS
    },
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
