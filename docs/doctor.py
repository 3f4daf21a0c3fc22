"""Writes DOCTOR.md from the doctor's code: every sentence a check can say, read from its calls."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from types import ModuleType

import msgspec

from gatewayctl import exits
from gatewayctl.doctor import betrayal, centre, pcsc
from gatewayctl.doctor.examination import CHECKS
from gatewayctl.doctor.finding import Report, Verdict

SAID_BY = {verdict.value: verdict for verdict in Verdict if verdict is not Verdict.OK}
ANY = "…"

HEAD = """# The doctor

`gatewayctl doctor` looks for what keeps a kiosk from working, or is about to. It works whether the daemon runs or not,
changes nothing, and may be run while a citizen is at the kiosk: no command is sent to a card, no reader is connected
to. It needs no root; what this user may not see is told as *unknown*. It takes about a second, and a few more when
something does not answer.

```sh
gatewayctl doctor            # for people
gatewayctl doctor --json     # for programs: one JSON object, described below
gatewayctl doctor --schema   # its JSON Schema
```

| Verdict | Means | Exit code, when it is the worst |
|---|---|---|"""

MEANING = {
    Verdict.OK: "in order",
    Verdict.UNKNOWN: "could not be seen; root sees it",
    Verdict.WARN: "works, and will not for long, or not as it should",
    Verdict.FAIL: "does not work, or betrays a secret",
}


def page(notice: str) -> str:
    """Return docs/DOCTOR.md."""
    lines = [notice, HEAD]
    lines += [f"| `{verdict.value}` | {MEANING[verdict]} | {int(verdict.exit_code)} |" for verdict in Verdict]
    usage, unsaid = int(exits.ExitCode.USAGE), int(exits.ExitCode.UNSAID)
    lines += ["", f"A wrong command line ends with {usage}, a standard output that is closed or full with {unsaid}."]
    lines += ["", "## The checks", ""]
    lines += ["`…` stands for what was found. A check that finds several things says the worst of them. One that needs"]
    lines += ["the configuration and has none is *unknown*, and so is one that breaks: it ends no other.", ""]
    for name, check in CHECKS.items():
        lines += [f"### {name}", "", inspect.getdoc(check) or "", ""]
        lines += ["| Verdict | Says | Remedy |", "|---|---|---|"]
        lines += dict.fromkeys(f"| {' | '.join(row)} |" for row in sentences(check))
        if name == "pcsc-versions":
            lines += ["", "Known to be bad:", "", *_known_bad()]
        lines.append("")
    schema = json.dumps(msgspec.json.schema(Report), indent=2, ensure_ascii=False)
    return "\n".join([*lines, "## The JSON object", "", "```json", schema, "```", ""])


def _known_bad() -> Iterator[str]:
    for begin, end, why in pcsc.KNOWN_BAD:
        first = f"from {_dotted(begin)} on " if begin > (0,) else ""
        yield f"- {first}before {_dotted(end)}: {why}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def sentences(check: object) -> Iterator[tuple[str, str, str]]:
    """Yield verdict, sentence and remedy of every call of a check and of the functions of its module that it uses."""
    assert inspect.isfunction(check)
    module = sys.modules[check.__module__]
    functions = {
        node.name: node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.FunctionDef)
    }
    todo, done = [check.__name__], set[str]()
    while todo:
        name = todo.pop(0)
        if name in done:
            continue
        done.add(name)
        for node in ast.walk(functions[name]):
            match node:
                case ast.Call(func=ast.Name(id=called)) if called in functions:
                    todo.append(called)
                case ast.Call(func=ast.Attribute(attr=verdict), args=[said, remedy]) if verdict in SAID_BY:
                    if not isinstance(said, ast.Call):  # the centre's, below
                        yield verdict, _text(module, said), _text(module, remedy)
                case ast.Tuple(elts=[ast.Attribute(value=ast.Name(id="Verdict"), attr=verdict), said]):
                    yield verdict.lower(), f"… runs, or will be started, with {_text(module, said)}.", betrayal.REMEDY
    if module is centre and check.__name__ == "centre":
        for means, advice in centre.STEPS.values():
            yield "fail", means.format(host=ANY, address=ANY, detail=ANY), advice


def _text(module: ModuleType, node: ast.expr) -> str:
    """Return a text as it stands in the code, with what is only known at run time left open."""
    match node:
        case ast.Constant(value=str(text)):
            return text.replace("|", "\\|")
        case ast.JoinedStr(values=values):
            return "".join(_text(module, value) for value in values)
        case ast.FormattedValue(value=value):
            return _text(module, value)
        case ast.Name(id=name) if isinstance(constant := getattr(module, name, None), str):
            return constant
    return ANY
