"""Every link of every page leads to something that is there: file, folder, or heading."""

from __future__ import annotations

import re
import subprocess
import urllib.parse
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
SCHEME = re.compile(r"[a-z]+:")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, no punctuation, a number for a repeat."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(text: str) -> list[str]:
    return [link for link in LINK.findall(CODE.sub("", FENCE.sub("", text))) if not SCHEME.match(link)]


def problem(page: Path, link: str) -> str | None:
    """Say what is wrong with a link; None when it leads somewhere."""
    path, _, anchor = urllib.parse.unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"{link}: no such file"
    if not target.is_relative_to(ROOT):
        return f"{link}: leads out of the repository"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    found = [trouble for link in links(page.read_text(encoding="utf-8")) if (trouble := problem(page, link))]
    assert not found


def test_every_page_can_be_reached_from_the_first_one() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text(encoding="utf-8"))]
        todo += [target for target in targets if target.suffix == ".md" and target.exists()]
    missing = {name for name in PAGES if name.startswith("docs/") or "/" not in name} - {
        str(page.relative_to(ROOT)) for page in reached
    }
    assert not missing


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## Try it", "try-it"),
        ("### `make demo`, and more", "make-demo-and-more"),
        ("## 2. Install it", "2-install-it"),
        ("## What to do when …", "what-to-do-when-"),
    ],
)
def test_anchors_are_made_as_the_forge_makes_them(heading: str, anchor: str) -> None:
    assert anchors(heading) == {anchor}


@pytest.mark.parametrize("link", ["nothing.md", "README.md#nothing", "../../../etc/passwd", "#nothing"])
def test_what_leads_nowhere_is_found(link: str) -> None:
    assert problem(ROOT / "ARCHITECTURE.md", link)
