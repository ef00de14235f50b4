"""Records: one JSON file per run, written atomically and never changed afterwards."""

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.records import read_record, write_record

from firstspike import data
from firstspike.report import write_text

from .runs import Run

Job = dict[str, Any]  # what is run apart from the grid, as plain values
Log = Callable[[str], None]


@dataclass(frozen=True)
class MissingReason:
    """Why a run has no record: a short reason for the table's cell, and what to do about it."""

    reason: str
    how: str = ""


#: Of a run for which nobody has noted a reason.
NO_REASON = MissingReason("not run", "Run the reproduction with --keep; it makes what is missing.")
LARGE = MissingReason("not run: not asked for", "Add `--large` (it takes days on a few cores).")


def here(folder: Path) -> str:
    """The name of this checkout's results in `folder`, made at the first call; git ignores the file.

    A committed record does not reproduce itself.
    """
    file = folder / ".checkout"
    if not file.is_file():
        write_text(file, f"{uuid.uuid4().hex}\n")
    return file.read_text(encoding="utf-8").strip()


def made_here(record: Mapping[str, Any], folder: Path) -> bool:
    """Whether a record of the results in `folder` was made in this checkout."""
    return record.get("checkout") == here(folder)


def read_job(path: Path, job: Job) -> Job | None:
    """The record of a job; None where there is none, or one that is damaged or of other settings."""
    try:
        record: Job = json.loads(path.read_text(encoding="utf-8"))
        same = all(record[name] == value for name, value in job.items())
        settings = record["settings"] if "settings" in record else job["config"]  # older records have no others
        same = same and Run.of(settings) == Run.of(job["config"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if same else None


def run_jobs(
    todo: Mapping[Path, Job], run: Callable[[Path, Job], Job], tell: Callable[[Job], str], folder: Path, *,
    report_only: bool, keep: bool, log: Log,
) -> int:  # fmt: skip
    """Run each job that has no record at its path yet, and write its record; return the number of missing ones.

    `tell` gives the line to log of a record. keep: records of other checkouts of `folder` count, too.
    """
    missing = 0
    for number, (path, job) in enumerate(todo.items(), 1):
        record = read_job(path, job)
        if record is not None and (keep or report_only or made_here(record, folder)):
            continue
        if report_only:
            missing += 1
            continue
        try:
            record = {"checkout": here(folder), **run(path, job)}
        except data.NotAvailable as error:
            missing += 1
            log(f"not run: {error}")
            continue
        write_text(path, json.dumps(record, indent=1) + "\n")
        log(f"{number}/{len(todo)} {tell(record)}")
    return missing


class Store:
    """The records of one profile, in `folder`/records, and the reasons for missing ones, in `folder`/missing.json."""

    def __init__(self, folder: Path, *, kept: bool = True) -> None:
        """Open (and make) the store in `folder`. kept: records of other checkouts count, too."""
        self.folder, self.kept = folder, kept
        self.records, self.work = folder / "records", folder / "work"
        self._read: dict[str, dict[str, Any] | None] = {}
        self._missing: dict[str, MissingReason] = {}
        try:
            noted = json.loads((folder / "missing.json").read_text("utf-8"))
            self._missing = {key: MissingReason(**value) for key, value in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # absent or damaged; each session writes it anew
        self._missing = {key: found for key, found in self._missing.items() if found.reason != NO_REASON.reason}

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
        complete = {"key": run.key, "spec": run.to_dict(), "checkout": here(self.folder), **record}
        self._read[run.key] = write_record(self.path(run), complete, sort_keys=True)
        self._missing.pop(run.key, None)
        return self.path(run)

    def note_missing(self, run: Run, missing: MissingReason) -> None:
        """Note why `run` has no record; `save_missing_reasons` writes it."""
        self._missing[run.key] = missing

    def missing_reason(self, run: Run) -> MissingReason:
        """Why `run` has no record."""
        return self._missing.get(run.key, NO_REASON)

    def save_missing_reasons(self, runs: list[Run], large: Collection[Run] = ()) -> None:
        """Write the reasons for those of `runs` that have no record, and only those; `large` are those of large setups."""
        for run in large:
            self._missing.setdefault(run.key, LARGE)
        self._missing = {run.key: self.missing_reason(run) for run in runs if self.get(run) is None}
        values = {key: vars(value) for key, value in sorted(self._missing.items())}
        write_text(self.folder / "missing.json", json.dumps(values, indent=1) + "\n")

    def workplace(self, run: Run) -> Path:
        """The folder for the checkpoints of `run` while it is under way."""
        return self.work / run.name


def _load(path: Path, run: Run) -> dict[str, Any] | None:
    try:
        record = read_record(path)
        return record if record is not None and Run.of(record["spec"]) == run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
