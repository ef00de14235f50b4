"""What a session says while it runs: one line per finished run, with the time that is left."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from .execute import Outcome
from .runs import Run

_NORMALIZED = {True: "normalised", False: "not normalised", "channel": "normalised per output"}


@dataclass
class Progress:
    """Counts finished runs by their cost; a bar on a terminal, plain lines elsewhere."""

    runs: tuple[Run, ...]
    cost: Callable[[Run], float]
    console: Console
    _done: int = 0
    _spent: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._total = sum(map(self.cost, self.runs))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)
        self._task = self._bar.add_task("runs", total=len(self.runs), left="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def finished(self, outcome: Outcome) -> None:
        """Report the outcome of one run."""
        self._done += 1
        self._spent += self.cost(outcome.run)
        left = self._left()
        self._bar.update(self._task, advance=1, left=left)
        where = f"[{self._done:{len(str(len(self.runs)))}}/{len(self.runs)}]"
        self.console.print(
            f"{where} {describe(outcome)}{'' if self.console.is_terminal else '  ' + left}",
            markup=False,
            highlight=False,
        )

    def _left(self) -> str:
        if self._done >= len(self.runs) or not self._spent:
            return ""
        seconds = (time.monotonic() - self._started) * (self._total - self._spent) / self._spent
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def describe(outcome: Outcome) -> str:
    """One line about an outcome."""
    run = outcome.run
    what = f"{run.source} {run.spec} {run.model} seed {run.seed}"
    if run.model == "ttfs":
        parts = (
            "" if run.encoder == "direct" else run.encoder,
            run.readout,
            run.init,
            _NORMALIZED[run.normalization],
            run.pooling or "",
            f"T={run.steps}",
        )
        what += f" ({', '.join(part for part in parts if part)})"
    if outcome.record is None:
        return f"{what}: {outcome.reason}. {outcome.how}"
    results, timing = outcome.record["results"], outcome.record["timing"]
    return f"{what}: {results['test']['accuracy']:.2f} % in {timing['seconds']:.1f} s"


def several(names: Iterable[str]) -> str:
    """Names with how often each occurs: "mnist (3), digits (2)"."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
