"""The worked example of docs/CARD-PROTOCOL.md, read from the document itself."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs/CARD-PROTOCOL.md"


def worked_example() -> dict[str, bytes]:
    """Return every value of the example by its name."""
    blocks = re.findall(r"^```hex\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    pairs = [line.split(" = ") for line in lines]
    example = {name: bytes.fromhex(value) for name, value in pairs}
    assert len(example) == len(lines), "a name occurs twice"
    return example
