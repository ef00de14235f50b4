"""One session: the runs that are due, running them, and everything that is made from the records."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.tables import csv, latex, markdown

from firstspike import data, provenance
from firstspike.report import write_png, write_text

from .cost import cost
from .execute import Executor, Job, Task
from .figures import FIGURES, figures
from .grid import WAITS, Condition, Profile, choose_learning_rates, load, runs, waits
from .job import image_folder
from .page import page
from .progress import Progress
from .records import LARGE, NO_REASON, MissingReason, Store
from .runs import Run
from .tables import TABLES, tables

#: Exit status of a command that was asked for runs which it could not make.
NOT_RUN = 3


@dataclass(frozen=True)
class Plan:
    """pending: runs without a record that can be run now. unasked: runs of large setups that were not asked for."""

    pending: tuple[Run, ...]
    unasked: tuple[Run, ...]


@dataclass(frozen=True)
class Selection:
    """Which runs of a profile: names of experiments and setups, labels of rows, seeds; all of a kind where it is empty."""

    experiments: tuple[str, ...] = ()
    setups: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


def choose(profile: Profile, selection: Selection = Selection()) -> list[Condition]:
    """The conditions of a selection, with its seeds alone; ValueError for what the profile does not have."""
    chosen = list(profile.conditions)
    wanted = {"experiment": selection.experiments, "setup": selection.setups, "label": selection.rows}
    for field, names in wanted.items():
        there = list(dict.fromkeys(getattr(condition, field) for condition in chosen))
        for name in names:
            if name not in there:
                kind = "row" if field == "label" else field
                raise ValueError(f"profile {profile.name} has no {kind} {name!r} here; it has {', '.join(there)}")
        chosen = [condition for condition in chosen if not names or getattr(condition, field) in names]
    if not selection.seeds:
        return chosen
    seeds = sorted({run.seed for condition in chosen for run in condition.runs})
    for seed in selection.seeds:
        if seed not in seeds:
            raise ValueError(f"profile {profile.name} has no seed {seed} here; it has {seeds}")
    return [replace(condition, runs=tuple(run for run in condition.runs if run.seed in selection.seeds)) for condition in chosen]


def plan(conditions: list[Condition], store: Store, folder: str | None, large: bool, log: Callable[[str], None]) -> Plan:
    """Sort out the runs that have no record; look for (and fetch) the data that they need, and note what is missing.

    The runs of a condition whose learning rate is not chosen yet are left out: its trials come first.
    """
    waiting = [condition for condition in conditions if waits(condition, store)]
    first = [replace(condition, runs=()) if condition in waiting else condition for condition in conditions]
    needed = [run for run in runs(first) if store.get(run) is None]
    big = {run for condition in conditions if condition.large for run in condition.needed}
    unasked = tuple(run for run in needed if run in big and not large)
    reasons: dict[tuple[str, bool], MissingReason | None] = {}  # by data set, and whether it may be fetched
    pending = []
    for run in needed:
        asked = run not in unasked
        if (run.source, asked) not in reasons:
            reasons[run.source, asked] = _look_for(run, folder, asked, log)
        reason = reasons[run.source, asked]
        if reason is None and asked:
            reason = MissingReason("not run yet", NO_REASON.how)
            pending.append(run)
        store.note_missing(run, reason or MissingReason(LARGE.reason, f"The data are there. {LARGE.how}"))
    for condition in waiting:
        for run in condition.runs:
            store.note_missing(run, WAITS)
    note_blocked(waiting, store, pending)
    return Plan(tuple(_ordered(pending, conditions)), unasked)


def note_blocked(conditions: Iterable[Condition], store: Store, pending: Sequence[Run] = ()) -> None:
    """Note why a learning rate is not chosen yet: the reason of the first trial that has no record and is not pending."""
    for condition in conditions:
        blocked = [run for run in condition.trials if store.get(run) is None and run not in pending]
        for run in condition.runs if blocked else ():
            store.note_missing(run, store.missing_reason(blocked[0]))


def _ordered(pending: list[Run], conditions: list[Condition]) -> list[Run]:
    """The profile's first experiment before all others, then seed by seed, its rows in their order, the longest runs first.

    So a session that is cut short has every row of the main table, if with fewer seeds, or its first rows.
    """
    main = [condition for condition in conditions if condition.experiment == conditions[0].experiment]
    labels = list(dict.fromkeys(condition.label for condition in main))
    place = {run: labels.index(condition.label) for condition in reversed(main) for run in condition.needed}
    return sorted(pending, key=lambda run: (run not in place, run.seed, place.get(run, 0), -cost(run)))


def _look_for(run: Run, folder: str | None, fetch: bool, log: Callable[[str], None]) -> MissingReason | None:
    """None where the data set is there, else why not and how to get it. Data of runs not asked for are not fetched."""
    try:
        if run.images:
            image_folder(run, folder)
        else:
            for train in (True, False):
                data.load(run.data, root=folder, train=train, download=fetch)
    except data.NotAvailable as error:
        if fetch:
            log(f"{run.source}: {error}")
        fetched = "Add `--large`." if run.images else "Add `--large`, which also fetches the data."
        how = error.instructions if fetch else f"{fetched} {error.instructions}"
        return MissingReason("not run: no data", how)
    return None


def execute(todo: Iterable[Run], store: Store, executor: Executor, job: Job, folder: str | None, progress: Progress) -> None:
    """Run what is to be run and write each record as soon as it is there."""
    head = provenance.commit(Path(__file__).resolve().parents[1], (".", ":!paper/results"))
    for outcome in executor(job, [Task(run, store.workplace(run), folder) for run in todo]):
        if outcome.record is None:
            store.note_missing(outcome.run, MissingReason(outcome.reason, outcome.how))
        else:
            outcome.record["provenance"]["commit"] = head
            try:
                store.add(outcome.run, outcome.record)
            except ValueError as error:  # NaN or infinity; one run stops no other
                reason = MissingReason("failed: a result is not finite", f"{outcome.run.name}: {error}")
                store.note_missing(outcome.run, reason)
                outcome = replace(outcome, record=None, reason=reason.reason, how=reason.how)
            shutil.rmtree(store.workplace(outcome.run), ignore_errors=True)
        progress.finished(outcome)


def _committed() -> tuple[Profile, Store]:
    """The full protocol, with the records that came with the repository."""
    store = Store(Path(__file__).resolve().parent / "results" / "paper")
    return choose_learning_rates(load("paper"), store), store


def write(profile: Profile, store: Store, png: Mapping[str, Path] | None = None, log: Callable[[str], None] = print) -> Path:
    """Write all tables, figures and the report into the store's folder; `png` names figures to write as PNG besides.

    Tables and figures of an earlier session go where this one has no records for them.
    """
    made = {table.name: table for table in tables(profile, store)}
    drawn = {item.name: item for item in figures(profile, store)}
    for name, table in made.items():
        stem = store.folder / "tables" / name
        write_text(stem.with_suffix(".csv"), csv(table.raw))
        write_text(stem.with_suffix(".md"), markdown(table.shown))
        write_text(stem.with_suffix(".tex"), latex(table.shown, table.caption, f"tab:{name}"))
    for name, item in drawn.items():
        write_text(store.folder / "figures" / f"{name}.svg", item.svg)
    for folder, there, known in (("tables", list(made), list(TABLES)), ("figures", list(drawn), list(FIGURES))):
        for name in set(known).difference(there):
            for path in (store.folder / folder).glob(f"{name}.*"):
                path.unlink()
    full = _committed() if profile.name == "quick" else None
    report = page(profile, store, made.values(), drawn.values(), full).write(store.folder / "report.html")
    for name, path in (png or {}).items():
        if name in drawn:
            write_png(drawn[name].figure, path)
        else:
            log(f"{path} is not written: there are no records for the figure {name}; it has {', '.join(drawn)}")
    return report
