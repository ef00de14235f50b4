"""Reproduce the paper: train what has no record yet, then write tables, figures and the report.

    python paper/reproduce.py --profile quick

Conversions (conversion.py), the emulator's table (emulator_tables.py), those of chips (chips.py) and of what lowers energy
(advice.py) come last, unless other runs were chosen; `--only conversion`, `emulator`, `chips` and `advice` make them alone.
Exit status: 0 where everything that was asked for was run, 3 where some were not, 2 for a wrong argument.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import typer

from firstspike import provenance
from paper import advice, chips, conversion, emulator_tables, grid, session
from paper.cost import cost
from paper.execute import Executor
from paper.figures import FIGURES
from paper.job import train
from paper.progress import Progress, several
from paper.records import Store
from paper.session import NOT_RUN

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: What is made apart from the grid of runs, in a folder of this name.
APART = {"conversion": conversion.make, "emulator": emulator_tables.make, "chips": chips.make, "advice": advice.make}


@app.command()
def main(
    profile: Annotated[str, typer.Option(help=f"How much is run: {', '.join(grid.PROFILES)}.")] = "quick",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the data sets; else the cache, else they are fetched.", exists=True, file_okay=False),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Run these experiments only (repeat, or use commas).")] = None,
    setup: Annotated[list[str] | None, typer.Option(help="Of these setups only, such as mnist-cnn (repeat).")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Of rows with these labels only, such as ReLU (repeat).")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="With these seeds only (repeat).")] = None,
    address: Annotated[str | None, typer.Option(help="Scheduler of a running dask.distributed cluster.")] = None,
    workers: Annotated[
        int,
        typer.Option(min=-1, help="Worker processes, a run with two threads counts as two; -1: one per core; 0: none."),
    ] = -1,
    results: Annotated[
        Path | None, typer.Option(help="Folder for results; by default paper/results.", file_okay=False, writable=True)
    ] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Run the large setups (a wider net for MNIST, CIFAR, DVS Gesture) as well.")
    ] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Train nothing; make tables and reports anew.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Count records that came with the repository; else they are made anew.")
    ] = False,
    png: Annotated[list[str] | None, typer.Option(help="NAME=FILE: also write a figure as PNG.")] = None,
) -> None:
    """Train what has no record yet, then write tables, figures and the report. It resumes if interrupted."""
    names = tuple(name.strip() for text in only or [] for name in text.split(","))
    wanted = session.Selection(
        tuple(name for name in names if name not in APART), tuple(setup or ()), tuple(row or ()), tuple(seed or ())
    )
    try:
        loaded = grid.load(profile)
        session.choose(loaded, wanted)
        pictures = _pictures(png or [])
        if address is not None and workers >= 0:
            raise ValueError("--workers is the number of local processes; the cluster at --address has its own")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    executor = Executor(provenance.cores() if workers < 0 else workers, address)
    folder, root = (
        (results or Path(__file__).resolve().parent / "results") / profile,
        None if data is None else str(data),
    )
    lacking = 0
    if not names or not set(names) <= set(APART):
        store = Store(folder, kept=keep or report_only)
        lacking += _runs(loaded, wanted, store, executor, root, large, report_only, pictures)
    for name, make in APART.items():
        if name in names or (not names and wanted == session.Selection()):
            lacking += make(profile, folder / name, root, report_only=report_only, keep=keep, log=log)
    if lacking:
        log("The reports say how to get what is missing.")
        raise typer.Exit(NOT_RUN)


def _interrupt(*_: object) -> NoReturn:
    """Take one Ctrl-C: the next would interrupt dask while it ends the workers, which then never end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def log(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


def _runs(
    loaded: grid.Profile,
    wanted: session.Selection,
    store: Store,
    executor: Executor,
    root: str | None,
    large: bool,
    report_only: bool,
    pictures: dict[str, Path],
) -> int:
    """Run what is due and write the report; the number of runs that were asked for and are missing."""
    chosen = grid.choose_learning_rates(loaded, store)
    try:
        due = [] if report_only else session.choose(chosen, wanted)
        while due:  # then once more the runs that trials of learning rates have made ready
            waiting = {condition.name for condition in due if grid.waits(condition, store)}
            plan = session.plan(due, store, root, large, log)
            log(f"profile {loaded.name}: {len(grid.runs(due))} runs, {len(plan.pending)} to do")
            if plan.unasked:
                log(f"left out without --large: {several(run.source for run in plan.unasked)}")
            session.execute(plan.pending, store, executor, train, root, Progress(plan.pending, cost, log))
            session.note_blocked(due, store)
            chosen = grid.choose_learning_rates(loaded, store)
            ready = [condition for condition in session.choose(chosen, wanted) if condition.name in waiting]
            due = [condition for condition in ready if not grid.waits(condition, store)]
    except KeyboardInterrupt:
        log("Interrupted. Run the same command again to resume.")
        raise typer.Exit(130) from None
    finally:
        large_runs = grid.runs([condition for condition in chosen.conditions if condition.large])
        store.save_missing_reasons(grid.runs(chosen.conditions), large_runs)
    log(f"report: {session.write(chosen, store, pictures, log)}")
    asked = session.choose(chosen, wanted)
    big = {run for condition in asked if condition.large for run in condition.needed} if not large else set()
    lacking = [run for run in grid.runs(asked) if store.get(run) is None and run not in big]
    if lacking:
        why = several(f"{run.source}, {store.missing_reason(run).reason}" for run in lacking)
        log(f"{len(lacking)} runs are missing: {why}")
    return len(lacking)


def _pictures(texts: list[str]) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if name not in FIGURES or not path or not Path(path).absolute().parent.is_dir() or Path(path).is_dir():
            raise ValueError(f"--png must be NAME=FILE, NAME one of {', '.join(FIGURES)}, got {text!r}")
        pictures[name] = Path(path)
    return pictures


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt)
    app()
