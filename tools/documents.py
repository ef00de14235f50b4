"""Parts of documents that are made from records: the text between two marks, `<!-- NAME ... -->` and `<!-- end -->`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from firstspike.report import write_text

END = "<!-- end -->"


def fill(text: str, name: str, render: Callable[[list[str]], str]) -> str:
    """`text` with new contents in each of its places `<!-- NAME WORDS -->` ... `<!-- end -->`.

    render: from the words of a place to its contents. ValueError for a place that has no end.
    """
    mark = re.compile(rf"<!-- {re.escape(name)} (?P<words>[^\n]*?) -->\n")
    parts, start = [], 0
    for found in mark.finditer(text):
        end = text.find(END, found.end())
        if end < 0 or mark.search(text, found.end(), end):
            raise ValueError(f"the mark '{found[0].strip()}' must be followed by '{END}'")
        parts += [text[start : found.end()], render(found["words"].split())]
        start = end
    return "".join([*parts, text[start:]])


def marks(text: str, name: str) -> list[list[str]]:
    """The words of each place of `name` in `text`."""
    found: list[list[str]] = []
    fill(text, name, lambda words: found.append(words) or "")  # type: ignore[func-returns-value]
    return found


def update(paths: Iterable[Path], change: Callable[[str], str], *, check: bool, command: str) -> int:
    """Change documents in place; with `check`, write nothing and say on stderr which of them differ, and the `command`
    that updates them. Returns the number of documents that differ and were not written.
    """
    stale = []
    for path in paths:
        old = path.read_text(encoding="utf-8")
        new = change(old)
        if new != old and check:
            stale.append(str(path))
        elif new != old:
            write_text(path, new)
    if stale:
        print(f"differs from the records: {', '.join(stale)}; run: {command}", file=sys.stderr)
    return len(stale)
