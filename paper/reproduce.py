"""Reproduce the paper: train what has no record yet, then write tables, figures and the report.

    python paper/reproduce.py --profile quick

Exit status: 0 where everything that was asked for was run, 3 where some were not, 2 for a wrong argument.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import typer
from rich.console import Console

from firstspike._base.checks import one_of
from firstspike._base.provenance import cores
from paper import grid, session
from paper.cost import cost
from paper.execute.dask import Dask
from paper.execute.local import Local
from paper.execute.outcome import Executor
from paper.figures import FIGURES
from paper.job import train
from paper.options import check_data, check_picture, check_results
from paper.progress import Progress, several
from paper.records import Store
from paper.session import NOT_RUN

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    profile: Annotated[str, typer.Option(help=f"How much is run: {', '.join(grid.PROFILES)}.")] = "quick",
    data: Annotated[
        str | None, typer.Option(help="Folder with the data sets; else the cache, else they are fetched.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run these experiments only, such as table1 (repeat, or use commas).")
    ] = None,
    setup: Annotated[list[str] | None, typer.Option(help="Of these setups only, such as mnist-cnn (repeat).")] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Of rows with these labels only, such as ReLU (repeat).")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="With these seeds only (repeat).")] = None,
    executor: Annotated[str, typer.Option(help="Where runs go: local or dask.")] = "local",
    address: Annotated[str | None, typer.Option(help="Scheduler of a running dask.distributed cluster.")] = None,
    workers: Annotated[
        int,
        typer.Option(
            help="Local worker processes, a run with two threads counts as two; -1: one per core; 0: run in this process."
        ),
    ] = -1,
    results: Annotated[Path | None, typer.Option(help="Folder for results; by default paper/results.")] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Run the large setups (a wider net for MNIST, CIFAR, DVS Gesture) as well.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing; make tables and report anew.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Count records that came with the repository; else they are made anew.")
    ] = False,
    png: Annotated[list[str] | None, typer.Option(help="NAME=FILE: also write a figure as PNG.")] = None,
) -> None:
    """Train what has no record yet, then write tables, figures and the report. It resumes if interrupted."""
    console = Console(stderr=True, soft_wrap=True)
    try:
        loaded = grid.load(_profile(profile))
        names = tuple(name.strip() for text in only or [] for name in text.split(","))
        wanted = session.Selection(names, tuple(setup or ()), tuple(row or ()), tuple(seed or ()))
        conditions = session.choose(loaded, wanted)
        run_on = _executor(executor, address, workers)
        pictures = _pictures(png or [])
        check_data(data)
        check_results(results)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error)) from None
    store = Store((results or Path(__file__).resolve().parent / "results") / profile, kept=keep or report_only)

    def log(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    chosen = grid.choose_learning_rates(loaded, store)
    try:
        due = [] if report_only else session.choose(chosen, wanted)
        while due:  # then once more what its trials of learning rates have made ready
            waiting = {condition.name for condition in due if grid.waits(condition, store)}
            plan = session.plan(due, store, data, large, log)
            todo = plan.pending
            log(f"profile {profile}: {len(grid.runs(due))} runs, {len(todo)} to do")
            if plan.unasked:
                log(f"left out without --large: {several(run.source for run in plan.unasked)}")
            with Progress(todo, cost, console) as progress:
                session.execute(todo, store, run_on, train, data, progress)
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
    conditions = session.choose(chosen, wanted)
    report = session.write(chosen, store, pictures, log)
    log(f"report: {report}")
    big = {run for condition in conditions if condition.large for run in condition.needed} if not large else set()
    lacking = [run for run in grid.runs(conditions) if store.get(run) is None and run not in big]
    if lacking:
        why = several(f"{run.source}, {store.missing_reason(run).reason}" for run in lacking)
        log(f"{len(lacking)} runs are missing: {why}")
        log("The report says how to get them.")
        raise typer.Exit(NOT_RUN)


def _profile(name: str) -> str:
    one_of("--profile", name, grid.PROFILES)
    return name


def _executor(name: str, address: str | None, workers: int) -> Executor:
    if name == "local":
        if address is not None:
            raise ValueError("--address needs --executor dask")
        return Local(cores() if workers < 0 else workers)
    if name != "dask":
        raise ValueError(f"--executor must be local or dask, got {name!r}")
    if address is None:
        raise ValueError("--executor dask needs --address, such as tcp://10.0.0.1:8786")
    if workers >= 0:
        raise ValueError("--workers is the number of local processes; with --executor dask the cluster has its own")
    return Dask(address)


def _pictures(texts: list[str]) -> dict[str, Path]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, path) in zip(texts, pairs, strict=True):
        if not (name and equals and path):
            raise ValueError(f"--png must be NAME=FILE, got {text!r}")
        one_of("--png", name, FIGURES)
    twice = [name for name, count in Counter(name for name, _, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"--png must name each figure once, got {twice[0]!r} again")
    pictures = {name: Path(path) for name, _, path in pairs}
    for file in pictures.values():
        check_picture(file)
    return pictures


if __name__ == "__main__":
    app()
