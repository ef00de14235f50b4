"""Each peer's best setting, as the section `sweep` found it: on this kind of processor, if it is among the records."""

from __future__ import annotations

from typing import Any

from tools.provenance import processor_and_model

from . import records
from .nets import FIRES_ONCE, Setting, settings
from .records import RESULTS
from .workloads import Workload

#: Taken where no sweep was recorded.
ASSUMED = {
    "dense": ("loop, compiled", "loop, channels last, compiled", "scan, compiled"),
    "spikingjelly": ("multi-step, compiled", "multi-step"),
    FIRES_ONCE: ("multi-step, compiled", "multi-step"),
}


def sweep_cell(workload: Workload, steps: int, library: str) -> str:
    """The name of the sweep's cell."""
    return f"{workload.name}-T{steps}-{library}"


def fastest_setting(workload: Workload, steps: int, library: str, *, compiled: bool | None = None) -> Setting:
    """The fastest setting of a training step that was found for this net, at the nearest number of steps that was
    swept.

    compiled: among those under torch.compile, or those without; None: among all. Settings that `steps` rules out
    (unrolled loops) do not count.
    """
    allowed = {
        setting.name: setting
        for setting in settings(library, maps=not workload.flat, steps=steps)
        if compiled is None or setting.compiled == compiled
    }
    rows = [row for row in _swept() if row["work"] == workload.name and row["library"] == library]
    for row in sorted(rows, key=lambda row: abs(row["steps"] - steps)):
        times = {name: time["median"] for name, time in row["times"].items() if name in allowed}
        if times:
            return allowed[min(times, key=lambda name: times[name])]
    return next((allowed[name] for name in ASSUMED[library] if name in allowed), next(iter(allowed.values())))


def _swept() -> list[dict[str, Any]]:
    """The rows of the sweep on this kind of processor; where there are none, the rows of `full`."""
    here = processor_and_model()
    for path in sorted(RESULTS.glob("*/sweep.json")):
        rows = records.load(path)
        if rows and all(row["origin"]["machine"]["processor"] == here for row in rows):
            return rows
    return records.load(RESULTS / "full" / "sweep.json")
