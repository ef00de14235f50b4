"""Energy and latency of a run: counters times a cited table, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ... import energy
from ...energy import EnergyTable
from ..placement.placer import Placement
from .run import Run, waits_for_all

PARTS = ("synapses", "updates_active", "updates_inactive", "routing", "firing", "messages", "hops", "static")
HOST_TABLE = "45nm-float"  # for multiply-adds on the host, if the chip's table has no figure


@dataclass(frozen=True)
class Account:
    """Energy per image in nanojoules.

    parts: by name, those of `PARTS` that apply; None if a figure is missing, which sums leave out. host: multiply-adds of a
    layer on the host, from the chip's table or else from `HOST_TABLE`. notes: what is not counted, and why.
    """

    table: EnergyTable
    parts: dict[str, float | None]
    host: float
    notes: list[str]

    @property
    def cores(self) -> float:
        """Sum of the known parts on the cores."""
        return float(sum(value or 0.0 for value in self.parts.values()))

    @property
    def total(self) -> float:
        """Sum of all known parts, the host's included."""
        return self.cores + self.host

    def frame(self) -> pd.DataFrame:
        """One row per part that applies, then the sums: part, energy_nj_per_image (None: unknown), share of the total."""
        values = {**self.parts, "cores": self.cores, "host": self.host, "total": self.total}
        shares = [None if value is None or not self.total else value / self.total for value in values.values()]
        return pd.DataFrame({"part": list(values), "energy_nj_per_image": list(values.values()), "share": shares})


def inactive_updates(run: Run) -> NDArray[np.int64]:
    """Updates of neurons without an event, int64 [B, L]: neurons times steps run, minus the active updates.

    In nets of windows: without a current, in the windows of the layer's sources and its own.
    """
    neurons = np.array([layer.neurons for layer in run.program.layers])
    return neurons * run.program.updated_steps(run.steps_run) - run.count("active")


def host_macs(run: Run) -> int:
    """Multiply-adds per image of a directly coded layer on the host."""
    return run.program.encoder.macs(int(np.prod(run.program.input_shape)))


def account(run: Run, table: str | EnergyTable, placement: Placement | None = None) -> Account:
    """The mean energy per image of `run` by an energy table (a name, a TOML file, or an `EnergyTable`)."""
    t, profile = energy.load(table), run.program.profile
    moved, step_time = traffic(run, placement, t.mesh_rows or 1, t.cores_per_tile or 1), profile.step_nanoseconds
    step_pj = None if t.static_mw is None or step_time is None else t.static_mw * float(np.mean(step_time))  # mW ns
    delivered = [t.operation_pj(layer.kind == "conv") for layer in run.program.layers] * run.count("delivered").mean(0)
    counted: dict[str, tuple[float | None, float]] = {  # picojoules of one, and how many
        "updates_active": (t.update_active_pj, float(run.count("active").sum(1).mean())),
        "updates_inactive": (t.update_inactive_pj, float(inactive_updates(run).sum(1).mean())),
        "routing": (t.spike_pj, moved.messages),
        "firing": (t.fired_pj, float(run.count("spikes").sum(1).mean())),
        "messages": (t.message_pj, moved.messages),
        "hops": (1.0, (t.hop_east_west_pj or 0) * moved.east_west + (t.hop_north_south_pj or 0) * moved.north_south),
        "static": (step_pj, float(run.steps_run.mean())),
    }
    parts: dict[str, float | None] = {"synapses": float(delivered.sum()) / 1000}
    notes = [t.note]
    for name in _applying(t, profile.update == "clocked")[1:]:
        unit, count = counted[name]
        parts[name] = None if unit is None else unit * count / 1000
        if unit is None:
            why = "power or time of a step is unknown" if name == "static" else "the table has no figure"
            notes.append(f"{name}: {why}, not counted")
    macs, each = host_macs(run), t.host_mac_pj
    if macs and each is None:
        other = energy.load(HOST_TABLE)
        each = other.host_mac_pj
        notes.append(
            f"host: {macs} multiply-adds per image at {each} pJ of table {other.name}; this table has no figure for them"
        )
    if parts.get("static") is not None and step_time is not None:
        low, high = step_time
        which = f"the mean of the profile's shortest and longest step, {low:g} and {high:g} ns"
        notes.append(f"static: each step is counted as {(low + high) / 2:g} ns, {which}")
    if "updates_active" in parts and profile.update == "event":
        notes.append(
            "updates_active: one per neuron and step with an event, as on clocked cores; a core that updates at every event "
            "accesses its membranes more often, so its energy is higher than this"
        )
    if t.all_inclusive:
        notes.append("the table's synaptic operation includes everything else on the cores")
    if "hops" in parts and placement is None:
        notes.append("hops: without a placement none are counted")
    return Account(t, parts, macs * (each or 0.0) / 1000, notes)


def _applying(table: EnergyTable, clocked: bool) -> tuple[str, ...]:
    """Which of `PARTS` apply: not those that the table's operation includes, and no inactive updates on event cores."""
    if table.all_inclusive:
        return ("synapses",)
    apply = {
        "updates_inactive": clocked,
        "routing": table.message_pj is None,
        "firing": table.fired_pj is not None,
        "messages": table.message_pj is not None,
        "hops": table.hop_east_west_pj is not None,
    }
    return tuple(name for name in PARTS if apply.get(name, True))


class Traffic(NamedTuple):
    """Means per image. messages: spikes times the cores where their neuron has a synapse. east_west, north_south: hops."""

    messages: float
    east_west: float
    north_south: float


def traffic(run: Run, placement: Placement | None, mesh_rows: int, cores_per_tile: int) -> Traffic:
    """The messages of a run: one per spike, and per input event, to each core where its neuron has a synapse.

    Every neuron of a layer counts as having fired equally often. Tile t lies in row t % mesh_rows and column t // mesh_rows;
    core c is on tile c // cores_per_tile; input events enter at tile 0. Without a placement there are no hops.
    """
    spikes = run.count("events").mean(0)  # into each layer, from the one before it
    program = run.program
    if placement is None:
        return Traffic(float(sum(count * len(program.listeners(n - 1)) for n, count in enumerate(spikes))), 0.0, 0.0)
    shapes = [program.input_shape, *(layer.out_shape for layer in program.layers)]
    messages = east_west = north_south = 0.0
    for link in placement.links:
        sent = float(spikes[link.layer + 1]) * link.neurons / int(np.prod(shapes[link.layer + 1]))
        column, row = divmod((link.core or 0) // cores_per_tile, mesh_rows)
        to_column, to_row = divmod(link.target // cores_per_tile, mesh_rows)
        messages += sent
        east_west += sent * abs(to_column - column)
        north_south += sent * abs(to_row - row)
    return Traffic(messages, east_west, north_south)


def latency(run: Run) -> dict[str, Any]:
    """Steps to decision, as training measures them, and the latency on the chip.

    latency_steps: from the first input step until the chip can give the result, delays included: with the first output
    spike if that settles the class, else, and for silent samples, at the end of the run. latency_ns: None if unknown.
    """
    last = run.program.layers[-1]
    silent = run.decision_step < 0
    decided = np.where(silent, last.stop - last.start, run.decision_step + 1)
    waits = silent | (waits_for_all(run.program) is not None)
    ready = np.where(waits, run.steps_run, last.start + run.decision_step + 1)
    mean = float(ready.mean())
    low, high = run.program.profile.step_nanoseconds or (None, None)
    return {
        "steps_to_decision_mean": float(decided.mean()),
        "steps_to_decision_max": int(decided.max()),
        "latency_steps_mean": mean,
        "latency_steps_max": int(ready.max()),
        "latency_ns_min": None if low is None else mean * low,
        "latency_ns_max": None if high is None else mean * high,
        "steps_run_mean": float(run.steps_run.mean()),
    }
