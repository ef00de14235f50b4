"""Energy and time of a run: counters times a cited table, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ... import energy
from ...energy import EnergyTable
from ..placement.placer import Placement
from .runner import Run


@dataclass(frozen=True)
class Account:
    """Energy an image in nanojoule, by part; None where the table has no figure, and the total leaves that part out.

    synapses: delivered operations. updates_active, updates_inactive: neurons' updates in steps with and without an
    event (inactive ones only on cores with a barrier). routing: spikes to each core that listens; without a
    placement, to one a layer. static: power times the run's time. host: multiply-adds of a layer on the host.
    """

    table: EnergyTable
    synapses: float
    updates_active: float | None
    updates_inactive: float | None
    routing: float | None
    static: float | None
    host: float | None
    notes: list[str]

    @property
    def total(self) -> float:
        """Sum of the parts that are known, without the host's."""
        return float(
            sum(
                part or 0.0
                for part in (self.synapses, self.updates_active, self.updates_inactive, self.routing, self.static)
            )
        )

    def frame(self) -> pd.DataFrame:
        """One row a part: part, energy in nJ an image, share of the total (the host's is apart)."""
        parts = {
            "synapses": self.synapses,
            "neuron updates, active": self.updates_active,
            "neuron updates, inactive": self.updates_inactive,
            "routing": self.routing,
            "static": self.static,
        }
        rows = [
            {
                "part": name,
                "nJ an image": value,
                "share": None if value is None or not self.total else value / self.total,
            }
            for name, value in parts.items()
        ]
        rows += [
            {"part": "total of the cores", "nJ an image": self.total, "share": 1.0 if self.total else None},
            {"part": "host layer (apart)", "nJ an image": self.host, "share": None},
        ]
        return pd.DataFrame(rows)


def inactive_updates(run: Run) -> np.ndarray:
    """Updates of neurons without an event, int64 [B, L]: neurons times steps run, less the active ones."""
    neurons = np.array([layer.neurons for layer in run.program.layers])
    return neurons * run.steps_run[:, None] - run.count("active")


def host_macs(run: Run) -> int:
    """Multiply-adds an image of a directly coded layer on the host."""
    return run.program.encoder.macs(int(np.prod(run.program.input_shape)))


def account(run: Run, table: str | EnergyTable, placement: Placement | None = None) -> Account:
    """The mean energy of an image of `run` by an energy table (a name, a TOML file, or an `EnergyTable`)."""
    t, program = energy.load(table), run.program
    notes: list[str] = [t.note]

    def part(unit: float | None, count: float, name: str) -> float | None:
        if t.all_inclusive:
            return None
        if unit is None:
            notes.append(f"{name}: the table has no figure, not counted")
            return None
        return unit * count / 1000

    barrier = program.profile.granularity == "step"
    destinations = [placement.destinations(n - 1) if placement else 1 for n in range(len(program.layers))]
    spikes_in = run.count("events").mean(0)
    step_time = program.profile.step_nanoseconds
    static = None
    if t.static_mw is not None and step_time is not None:
        static = t.static_mw * float(np.mean(step_time)) * float(run.steps_run.mean()) / 1000  # mW ns = pJ
    elif not t.all_inclusive:
        notes.append("static: power or time of a step is unknown, not counted")
    if t.all_inclusive:
        notes.append("the table's operation includes everything else")
    macs = host_macs(run)
    host = 0.0 if not macs else None if t.host_mac_pj is None else macs * t.host_mac_pj / 1000
    if macs and t.host_mac_pj is None:
        notes.append(f"host: {macs} multiply-adds an image, the table has no figure for them")
    return Account(
        t,
        t.synaptic_operation_pj * float(run.count("delivered").sum(1).mean()) / 1000,
        part(t.update_active_pj, float(run.count("active").sum(1).mean()), "neuron updates, active"),
        part(t.update_inactive_pj, float(inactive_updates(run).sum(1).mean()), "neuron updates, inactive")
        if barrier
        else None,
        part(t.spike_pj, float((spikes_in * destinations).sum()), "routing"),
        static,
        host,
        notes,
    )


def latency(run: Run) -> dict[str, Any]:
    """Steps to a decision (mean, largest; delays included; silent samples count as a whole run), steps run, and
    nanoseconds."""
    total = run.program.total_steps
    decided = np.where(run.decision_step < 0, total, run.decision_step + 1)
    step = run.program.profile.step_nanoseconds
    mean = float(decided.mean())
    return {
        "mean steps to decision": mean,
        "most steps to decision": int(decided.max(initial=0)),
        "mean steps run": float(run.steps_run.mean()),
        "nanoseconds to decision": None if step is None else f"{mean * step[0]:.0f} to {mean * step[1]:.0f}",
    }
