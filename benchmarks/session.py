"""What all sections share: quick or full, where records go, how to build and time the sides of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import inputs, timing
from .nets import Setting, build
from .nets.training import feed, training_step
from .probe import Neighbours
from .records import RESULTS, SectionRecord, recording_failures, timed
from .workloads import Workload

Maker = Callable[[torch.nn.Module, object, torch.Tensor], timing.Call]


@dataclass(frozen=True)
class Session:
    """full: everything, many rounds; else the quick form. resume: keep cells that are there. threads: of torch, and so
    of all. name: of the records' folder; by default full or quick.
    """

    full: bool = False
    resume: bool = False
    threads: int = 2
    results: Path = RESULTS
    name: str | None = None
    neighbours: Neighbours = field(default_factory=Neighbours)

    @property
    def folder(self) -> Path:
        """Where the records go."""
        return self.results / (self.name or ("full" if self.full else "quick"))

    @property
    def effort(self) -> timing.Effort:
        """How long to measure a cell."""
        return timing.FULL if self.full else timing.QUICK

    def record(self, section: str) -> SectionRecord:
        """The record of a section."""
        return SectionRecord(self.folder, section, resume=self.resume, neighbours=self.neighbours)

    def alternate(self, sides: Mapping[str, timing.Call], effort: timing.Effort | None = None) -> dict[str, dict[str, Any]]:
        """The record of `timing.alternate`, with the processors brought near to each other before each round."""
        return timed(timing.alternate(sides, effort or self.effort, self.neighbours.bring))

    def compare(
        self,
        chosen: Mapping[str, Setting],
        workload: Workload,
        steps: int,
        make: Maker = training_step,
        effort: timing.Effort | None = None,
        *,
        source: str = "fashion-mnist",
        batch: int | None = None,
    ) -> dict[str, Any]:
        """Time the settings of `chosen` in turns on one batch: `times`, and in `failures` why a side has none.

        make: from a net, its input and the labels to the timed call. batch: its size, by default the workload's.
        """
        made = inputs.batch(source, batch or workload.batch, steps, flat=workload.flat)
        calls: dict[str, timing.Call] = {}
        failures: dict[str, str] = {}
        fresh_compiler()
        for side, setting in chosen.items():
            with recording_failures(failures, side):
                call = make(build(setting, workload, steps), feed(setting.library, made), made.labels)
                call()
                calls[side] = call
        return {"times": self.alternate(calls, effort) if calls else {}, "failures": failures}


def names(chosen: Mapping[str, Setting]) -> dict[str, str]:
    """The name of each side's setting, as records hold it."""
    return {side: setting.name for side, setting in chosen.items()}


def fresh_compiler() -> None:
    """Forget what torch.compile made, and let it fail rather than fall back to eager silently."""
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
