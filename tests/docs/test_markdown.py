"""README.md and the pages of the site: every table is whole, and no text is missing between blank lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DELIMITERS = re.compile(r"\|( *:?-+:? *\|)+")


def blocks(text: str) -> list[list[str]]:
    """The lines outside code, in groups between blank ones; three blank lines one after another are a group of their own."""
    found: list[list[str]] = [[]]
    blank = 0
    for line in re.sub(r"^( *)```.*?^ *```$", "(code)", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        blank = 0 if line.strip() else blank + 1
        if blank == 3:
            found.append(["", "", ""])
        if blank:
            found.append([])
        else:
            found[-1].append(line)
    return found


def broken(text: str) -> list[str]:
    """The first lines of what is no whole table, and where text is missing."""
    wrong = []
    for block in blocks(text):
        rows = [line.rstrip() for line in block if line.startswith("|")]
        if block == ["", "", ""] or (rows and (len(rows) < 2 or not DELIMITERS.fullmatch(rows[1]))):
            wrong.append("three blank lines" if not rows else rows[0])
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_whole_and_no_text_is_missing(page: Path) -> None:
    assert broken(page.read_text(encoding="utf-8")) == []
