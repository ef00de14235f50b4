"""What a session says while it runs: one line per finished run, with the time that is left."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .execute import Outcome
from .runs import Run

_NORMALIZED = {True: "normalised", False: "not normalised", "channel": "normalised per output"}


@dataclass
class Progress:
    """Counts finished runs by their cost; says a line about each."""

    runs: tuple[Run, ...]
    cost: Callable[[Run], float]
    say: Callable[[str], None]
    _done: int = 0
    _spent: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def finished(self, outcome: Outcome) -> None:
        """Report the outcome of one run."""
        self._done += 1
        self._spent += self.cost(outcome.run)
        count = len(self.runs)
        self.say(f"[{self._done:{len(str(count))}}/{count}] {describe(outcome)}  {self._left()}")

    def _left(self) -> str:
        if self._done >= len(self.runs):
            return ""
        total = sum(map(self.cost, self.runs))
        seconds = (time.monotonic() - self._started) * (total - self._spent) / self._spent
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def describe(outcome: Outcome) -> str:
    """One line about an outcome."""
    run = outcome.run
    text = f"{run.source} {run.spec} {run.model} seed {run.seed}"
    if run.model == "ttfs":
        encoder = "" if run.encoder == "direct" else run.encoder
        parts = (encoder, run.readout, run.init, _NORMALIZED[run.normalization], run.pooling or "", f"T={run.steps}")
        text += f" ({', '.join(part for part in parts if part)})"
    if outcome.record is None:
        return f"{text}: {outcome.reason}. {outcome.how}"
    results, timing = outcome.record["results"], outcome.record["timing"]
    return f"{text}: {results['test']['accuracy']:.2f} % in {timing['seconds']:.1f} s"


def several(names: Iterable[str]) -> str:
    """Names with the number of times each occurs: "mnist (3), digits (2)"."""
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).items())
