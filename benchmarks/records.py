"""Records: one JSON file per section, written after each cell, so that an interrupted run can resume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tools.provenance import timing_origin
from tools.records import read_record, write_record

from .probe import Neighbours
from .timing import summarize

RESULTS = Path(__file__).resolve().parent / "results"


class SectionRecord:
    """The record of one section: `rows`, one per cell, in the order in which they were asked for.

    folder: where `<section>.json` lies. resume: keep the rows that are there; else start anew. Each row has the key
    "cell", its name, and says where it comes from (machine, versions, commit, threads, time), and how near the
    processors were to each other, in nanoseconds before each round, where `neighbours` know.
    """

    def __init__(self, folder: Path, section: str, *, resume: bool, neighbours: Neighbours | None = None) -> None:
        self.path = folder / f"{section}.json"
        self.section = section
        self._neighbours = neighbours or Neighbours()
        self._rows: dict[str, dict[str, Any]] = {row["cell"]: row for row in load(self.path)} if resume else {}
        self._asked: dict[str, None] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        return list(self._rows.values())

    def measure(self, cell: str, make: Callable[[], dict[str, Any]], **head: Any) -> dict[str, Any]:
        """The row of a cell: the one that is there, else one of `head` and what `make` measures."""
        self._asked[cell] = None
        if cell not in self._rows:
            print(f"{self.section} {cell}", file=sys.stderr, flush=True)
            self.add(cell, **head, **make())
        return self._rows[cell]

    def add(self, cell: str, **values: Any) -> None:
        """Add a cell, or replace it, and write the file; ValueError for a value that JSON cannot hold (NaN, too)."""
        origin = {**timing_origin(), "threads": torch.get_num_threads(), "neighbours": self._neighbours.take()}
        rows = self._rows | {cell: {"cell": cell, **values, "origin": origin}}
        rows = {name: rows[name] for name in (*self._asked, *rows) if name in rows}
        write_record(self.path, {"section": self.section, "rows": list(rows.values())})
        self._rows = rows


def load(path: Path) -> list[dict[str, Any]]:
    """The rows of a record; none where there is no file. ValueError for a file of another format."""
    record = read_record(path)
    rows: list[dict[str, Any]] = [] if record is None else record["rows"]
    return rows


def timed(samples: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Samples of `timing.alternate` as a record holds them: in milliseconds, with median and quartiles."""
    kept = {}
    for side, seconds in samples.items():
        milliseconds = [round(1e3 * s, 6) for s in seconds]
        kept[side] = {**vars(summarize(milliseconds)), "samples": milliseconds}
    return kept


@contextmanager
def recording_failures(failures: dict[str, str], side: str) -> Iterator[None]:
    """Note a peer's failure as its result: the table says why a cell is empty."""
    try:
        yield
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        failures[side] = f"{type(error).__name__}: {first[:200]}"
