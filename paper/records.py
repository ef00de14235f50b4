"""Records: one JSON file per run, written whole or not at all, and never changed afterwards."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.records import read_record, write_record

from firstspike.report import write_text

from .checkout import here, made_here
from .runs import Run


@dataclass(frozen=True)
class MissingReason:
    """Why a run has no record: a short reason for the table's cell, and what to do about it."""

    reason: str
    how: str = ""


#: Of a run for which nobody has noted a reason.
NO_REASON = MissingReason("not run", "Run the reproduction again; it resumes where it stopped.")
LARGE = MissingReason("not run: not asked for", "Add `--large` (it takes days on a few cores).")


class Store:
    """The records of one profile, in `folder`/records, and the reasons for missing ones, in `folder`/missing.json."""

    def __init__(self, folder: Path, *, kept: bool = True) -> None:
        """Open (and make) the store in `folder`. kept: records of other checkouts count, too."""
        self.folder = folder
        self.kept = kept
        self.records = folder / "records"
        self.work = folder / "work"
        self._read: dict[str, dict[str, Any] | None] = {}
        self._missing: dict[str, MissingReason] = {}
        reasons = folder / "missing.json"
        if reasons.exists():
            try:
                noted = {key: MissingReason(**value) for key, value in json.loads(reasons.read_text("utf-8")).items()}
            except (OSError, ValueError, TypeError, AttributeError):
                noted = {}  # damaged; each session writes it anew
            self._missing = {key: reason for key, reason in noted.items() if reason.reason != NO_REASON.reason}

    def path(self, run: Run) -> Path:
        """Where the record of `run` is or would be."""
        return self.records / f"{run.name}.json"

    def get(self, run: Run) -> dict[str, Any] | None:
        """The record of `run`, or None; a file that is damaged or of another run counts as none."""
        if run.key not in self._read:
            record = _load(self.path(run), run)
            ours = record is not None and (self.kept or made_here(record, self.folder))
            self._read[run.key] = record if ours else None
        return self._read[run.key]

    def add(self, run: Run, record: dict[str, Any]) -> Path:
        """Write the record of `run` and forget why it was missing."""
        whole = {"key": run.key, "spec": run.to_dict(), "checkout": here(self.folder), **record}
        self._read[run.key] = write_record(self.path(run), whole, sort_keys=True)
        self._missing.pop(run.key, None)
        return self.path(run)

    def note_missing(self, run: Run, missing: MissingReason) -> None:
        """Note why `run` has no record; `save_missing` writes it."""
        self._missing[run.key] = missing

    def missing_reason(self, run: Run) -> MissingReason:
        """Why `run` has no record."""
        return self._missing.get(run.key, NO_REASON)

    def save_missing_reasons(self, runs: list[Run], large: Collection[Run] = ()) -> None:
        """Write the reasons for those of `runs` that have no record, and only those; `large` are those of large setups."""
        for run in large:
            self._missing.setdefault(run.key, LARGE)
        lacking = {run.key: self.missing_reason(run) for run in runs if self.get(run) is None}
        self._missing = lacking
        text = json.dumps({key: vars(value) for key, value in sorted(lacking.items())}, indent=1) + "\n"
        write_text(self.folder / "missing.json", text)

    def workplace(self, run: Run) -> Path:
        """The folder for the checkpoints of `run` while it is under way."""
        return self.work / run.name


def _load(path: Path, run: Run) -> dict[str, Any] | None:
    try:
        record = read_record(path)
        return record if record is not None and Run.of(record["spec"]) == run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
