"""The progress of a run, on stderr: a bar for the running epoch, one line per finished epoch."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm

from .metrics import Meter
from .result import Epoch


class ProgressBar:
    """Show the running epoch where stderr is a terminal, and a line for each finished one everywhere.

    Args:
        shown: False shows nothing.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None  # tqdm.auto picks the class

    def begin(self, epoch: int, epochs: int, batches: int) -> None:
        """Begin the bar of an epoch of so many batches."""
        if self._shown:
            self._bar = tqdm(
                total=batches, desc=f"epoch {epoch}/{epochs}", unit="batch", leave=False, file=sys.stderr, disable=None
            )

    def step(self, meter: Meter) -> None:
        """One batch is done; the numbers are read only when the bar is redrawn."""
        if self._bar is not None and self._bar.update():
            loss, accuracy = meter.running()
            self._bar.set_postfix_str(f"loss {loss:.4f} accuracy {accuracy:.2%}", refresh=False)

    def end(self, entry: Epoch | None = None, epochs: int = 0) -> None:
        """The epoch is done, or (without an entry) was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._shown and entry is not None:
            tqdm.write(line(entry, epochs), file=sys.stderr)


def line(entry: Epoch, epochs: int) -> str:
    """An epoch in one line."""
    words = [f"epoch {entry.epoch}/{epochs}", f"loss {entry.train.loss:.4f}", f"train {entry.train.accuracy:.2%}"]
    for name, part in (("validation", entry.validation), ("test", entry.test)):
        if part is not None:
            words.append(f"{name} {part.accuracy:.2%}")
    measured = entry.test or entry.validation or entry.train
    if measured.steps_mean is not None:
        words.append(f"decides in {measured.steps_mean:.2f} steps")
        words.append(f"{measured.spikes_per_neuron:.3f} spikes/neuron")
    words.append(f"{entry.seconds:.1f} s")
    return ", ".join(words)
