"""The page made from the records: one Markdown file with all tables, and the figures as SVG."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from tools.tables import markdown

from firstspike.report import write_svg, write_text

from . import records, sections
from .probe import NEAR


def write(folder: Path) -> Path:
    """Write `README.md` and the figures of the records in `folder`; nothing is measured. Returns the page's path."""
    page, figures = made(folder)
    for stem, drawn in figures.items():
        write_svg(drawn, folder / f"{stem}.svg")
    return write_text(folder / "README.md", page)


def made(folder: Path) -> tuple[str, dict[str, Any]]:
    """The page of the records in `folder`, and its figures by their names; nothing is written."""
    parts = [f"# Measurements: {folder.name}\n", "Made by `nox -s bench` from the records beside this file.\n"]
    drawn: dict[str, Any] = {}
    for name in sections.NAMES:
        rows = records.load(folder / f"{name}.json")
        if not rows:
            continue
        module = sections.section(name)
        parts += [f"## {module.TITLE}\n", origins(rows)]
        for caption, frame in module.tables(rows):
            if len(frame):
                parts += [f"{caption}:\n", markdown(frame)]
        if hasattr(module, "figures"):
            of_section = module.figures(rows)
            drawn |= of_section
            parts += [f"![{stem}]({stem}.svg)\n" for stem in of_section]
    return "\n".join(parts), drawn


def origins(rows: list[dict[str, Any]]) -> str:
    """A line that says on what, with what and when the rows were measured; each origin once, with all of its commits."""
    seen: dict[str, dict[str, None]] = {}
    for row in rows:
        origin = row["origin"]
        versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items() if version != "absent")
        machine = origin["machine"]
        pages = f"; transparent huge pages: {machine['huge_pages']}" if machine.get("huge_pages") else ""
        threads = "1 thread" if origin["threads"] == 1 else f"{origin['threads']} threads"
        line = f"{machine['processor']}, {threads}{pages}; {versions}; commit"
        seen.setdefault(line, {})[origin["commit"]] = None
    first, last = min(r["origin"]["time"] for r in rows), max(r["origin"]["time"] for r in rows)
    load = max((r["origin"]["machine"]["load"] or 0) for r in rows)
    lines = [ns for r in rows for ns in r["origin"].get("neighbours", [])]
    near = f"; from processor to processor a cache line took {median(lines):.0f} ns" if lines else ""
    far = sum(ns > NEAR for ns in lines)
    beyond = f", before {far} of {len(lines)} rounds more than {NEAR} ns" if far else ""
    where = "\n".join(f"{line} {', '.join(commits)}." for line, commits in seen.items())
    return f"{where}\nMeasured {first} to {last}, load average up to {load:.1f}{near}{beyond}.\n"
