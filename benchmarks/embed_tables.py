"""Write the measured tables into documents: `python -m benchmarks.embed_tables FILE ...`; `--check` only compares.

A document marks a place with `<!-- bench SECTION TABLE -->` ... `<!-- end -->`; between them comes that table of the
section's full record: one of `tables` by its number from 0, or one of `summaries` by its name. With `<!-- bench SECTION
origin -->` it says where and with what was measured. A SECTION such as `zen3/steps` is from the records of another
machine, benchmarks/results/zen3. No measured figure is typed by hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.tables import markdown

from tools import documents

from . import records, sections
from .page import origins

NAME = "bench"
MISSING = "Not measured yet: run `nox -s bench -- --full`.\n"


def fill(text: str, folder: Path) -> str:
    """The text with all its places filled from the records in `folder`; ValueError for a place that names no section or
    table.
    """
    return documents.fill(text, NAME, lambda words: _contents(folder, words))


def _contents(folder: Path, words: list[str]) -> str:
    """What comes into the place `<!-- bench SECTION WHAT -->`."""
    if len(words) != 2:
        raise ValueError(f"a place must be '<!-- bench SECTION TABLE -->', got {' '.join(words)!r}")
    place, what = words
    machine, _, section = place.rpartition("/")
    if machine:
        folder = folder.parent / machine
    module = sections.section(section)
    rows = records.load(folder / f"{section}.json")
    if not rows:
        return MISSING
    if what == "origin":
        return origins(rows)
    named = module.summaries(rows) if hasattr(module, "summaries") else {}
    numbered = {str(index): table for index, table in enumerate(module.tables(rows))}
    tables = {**numbered, **named}
    if what not in tables:
        raise ValueError(f"a place must name 'origin' or one of {section}'s tables {', '.join(tables)}, got {what!r}")
    caption, frame = tables[what]
    return f"\n{caption}:\n\n{markdown(frame)}\n"


def main(arguments: list[str] | None = None) -> int:
    """Fill the files in place, or with --check say which differ; 1 if any does."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a document with marks")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a document differs")
    options = parser.parse_args(arguments)
    command = f"python -m benchmarks.embed_tables {' '.join(map(str, options.files))}"
    stale = documents.update(
        options.files, lambda text: fill(text, records.RESULTS / "full"), check=options.check, command=command
    )
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main())
