"""Fill the measured figures into documents: `python -m benchmarks.quote FILE ...`, `--check` only compares.

A document marks a place with `<!-- bench SECTION INDEX -->` ... `<!-- end -->`; between them comes table INDEX (from 0)
of that section's full record, or with `<!-- bench SECTION origin -->` where and with what it was measured. Nothing is
typed by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from firstspike.report import markdown

from . import records, sections
from .page import origins

_PLACE = re.compile(r"(<!-- bench (?P<section>\w+) (?P<what>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MISSING = "Not measured yet: run `nox -s bench -- --full`.\n"


def fill(text: str, folder: Path) -> str:
    """The text with all its places filled from the records in `folder`; ValueError for a place that names no section or
    table.
    """
    return _PLACE.sub(lambda found: found[1] + quoted(folder, found["section"], found["what"]) + found[4], text)


def quoted(folder: Path, section: str, what: str) -> str:
    """What comes into one place."""
    module = sections.section(section)
    rows = records.load(folder / f"{section}.json")
    if not rows:
        return MISSING
    if what == "origin":
        return origins(rows)
    tables = module.tables(rows)
    if not what.isdigit() or int(what) >= len(tables):
        raise ValueError(
            f"a place must name 'origin' or one of the {len(tables)} tables of {section} by number, got {what!r}"
        )
    caption, frame = tables[int(what)]
    return f"\n{caption}:\n\n{markdown(frame)}\n"


def main(arguments: list[str]) -> int:
    """Fill the files in place, or with --check say which differ; 1 if any does."""
    check = "--check" in arguments
    stale = []
    for name in [name for name in arguments if name != "--check"]:
        path = Path(name)
        old = path.read_text()
        new = fill(old, records.RESULTS / "full")
        if new != old:
            stale.append(name)
            if not check:
                path.write_text(new)
    if check and stale:
        print(f"not as the records say, run python -m benchmarks.quote {' '.join(stale)}", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
