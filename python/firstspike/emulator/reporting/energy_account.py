"""Energy and latency of a run: counters times a cited table, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ... import energy
from ...energy import EnergyTable
from ..placement.placer import Placement
from .runner import Run, waits_for_all
from .traffic import traffic

PARTS = ("synapses", "updates_active", "updates_inactive", "routing", "firing", "messages", "hops", "static")
HOST_TABLE = "45nm-float"  # for multiply-adds on the host, where the chip's table has no figure


@dataclass(frozen=True)
class Account:
    """Energy per image in nanojoules, by part; None where a part does not apply or a figure is missing: sums leave it out.

    synapses: delivered operations. updates_active, updates_inactive: updates of neurons in steps with and without an
    event (inactive ones only on cores that update every neuron in every step). routing: spikes to each core where their
    neuron has a synapse (`traffic`); without a placement, to one core per layer. firing, messages, hops: of tables that have
    these figures; messages in place of routing. static: power times the steps of the run, each counted as the mean of
    the profile's shortest and longest step. host: multiply-adds of a layer on the host (`Encoder.macs`), from the chip's table
    or else from `HOST_TABLE`. parts: those that apply; of an all-inclusive table, synapses.
    notes: what is not counted, and why.
    """

    table: EnergyTable
    parts: tuple[str, ...]
    synapses: float
    updates_active: float | None
    updates_inactive: float | None
    routing: float | None
    firing: float | None
    messages: float | None
    hops: float | None
    static: float | None
    host: float
    notes: list[str]

    @property
    def cores(self) -> float:
        """Sum of the known parts on the cores."""
        return float(sum(getattr(self, name) or 0.0 for name in PARTS))

    @property
    def total(self) -> float:
        """Sum of all known parts, the host's included."""
        return self.cores + self.host

    def frame(self) -> pd.DataFrame:
        """One row per part that applies, then the sums: part, energy_nj_per_image (None: unknown), share of the total."""
        values = {name: getattr(self, name) for name in (*self.parts, "cores", "host", "total")}
        rows = [
            {
                "part": name,
                "energy_nj_per_image": value,
                "share": None if value is None or not self.total else value / self.total,
            }
            for name, value in values.items()
        ]
        return pd.DataFrame(rows)


def inactive_updates(run: Run) -> NDArray[np.int64]:
    """Updates of neurons without an event, int64 [B, L]: neurons times steps run, minus the active updates."""
    neurons = np.array([layer.neurons for layer in run.program.layers])
    return neurons * run.steps_run[:, None] - run.count("active")


def host_macs(run: Run) -> int:
    """Multiply-adds per image of a directly coded layer on the host."""
    return run.program.encoder.macs(int(np.prod(run.program.input_shape)))


def account(run: Run, table: str | EnergyTable, placement: Placement | None = None) -> Account:
    """The mean energy per image of `run` by an energy table (a name, a TOML file, or an `EnergyTable`)."""
    t, program = energy.load(table), run.program
    notes, parts = [t.note], _parts(t, program.profile.update == "clocked")
    moved = traffic(run, placement, t.mesh_rows or 1, t.cores_per_tile or 1)
    step_time = program.profile.step_nanoseconds

    def part(name: str, unit: float | None, count: float, lacking: str = "the table has no figure") -> float | None:
        if name not in parts:
            return None
        if unit is None:
            notes.append(f"{name}: {lacking}, not counted")
            return None
        return unit * count / 1000

    def mean(name: str) -> float:
        return float(run.count(name).sum(1).mean())

    made = Account(
        t,
        parts,
        _synapses(run, t),
        part("updates_active", t.update_active_pj, mean("active")),
        part("updates_inactive", t.update_inactive_pj, float(inactive_updates(run).sum(1).mean())),
        part("routing", t.spike_pj, moved.messages),
        part("firing", t.fired_pj, mean("spikes")),
        part("messages", t.message_pj, moved.messages),
        part(
            "hops",
            1.0,
            (t.hop_east_west_pj or 0.0) * moved.east_west + (t.hop_north_south_pj or 0.0) * moved.north_south,
        ),
        part(
            "static",
            None if t.static_mw is None or step_time is None else t.static_mw * float(np.mean(step_time)),  # mW ns = pJ
            float(run.steps_run.mean()),
            "power or time of a step is unknown",
        ),
        _host(t, host_macs(run), notes),
        notes,
    )
    if made.static is not None and step_time is not None:
        low, high = step_time
        notes.append(
            f"static: each step is counted as {(low + high) / 2:g} ns, the mean of the profile's shortest and longest step, "
            f"{low:g} and {high:g} ns"
        )
    if "updates_active" in parts and program.profile.update == "event":
        notes.append(
            "updates_active: one per neuron and step with an event, as on clocked cores; a core that updates at every event "
            "accesses its membranes more often, so its energy is higher than this"
        )
    if t.all_inclusive:
        notes.append("the table's synaptic operation includes everything else on the cores")
    if made.hops is not None and placement is None:
        notes.append("hops: without a placement none are counted")
    return made


def _parts(table: EnergyTable, clocked: bool) -> tuple[str, ...]:
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


def _synapses(run: Run, table: EnergyTable) -> float:
    """Energy of the delivered operations, nJ per image; a table may tell convolutions apart."""
    units = [table.operation_pj(layer.kind == "conv") for layer in run.program.layers]
    return float((run.count("delivered").mean(0) * units).sum()) / 1000


def _host(table: EnergyTable, macs: int, notes: list[str]) -> float:
    """Energy of the multiply-adds on the host, nJ per image."""
    if not macs:
        return 0.0
    each = table.host_mac_pj
    if each is None:
        other = energy.load(HOST_TABLE)
        each = other.host_mac_pj
        assert each is not None
        notes.append(
            f"host: {macs} multiply-adds per image at {each} pJ of table {other.name}; this table has no figure for them"
        )
    return macs * each / 1000


def latency(run: Run) -> dict[str, Any]:
    """Steps to decision, as training measures them, and the latency on the chip.

    steps_to_decision: `Run.decision_step` + 1, T where no output neuron fired: when an output first fired (with a membrane
    readout: when the best class was the final one), which need not settle the class. latency_steps: from the first input
    step until the chip can give the result, delays included: with the first output spike where it settles the class, else
    (`runner.waits_for_all`), and for silent samples, at the end of the run. latency_ns: those steps times the shortest and
    the longest step of the profile, None where unknown. steps_run: until the run ended.
    """
    last = run.program.layers[-1]
    silent = run.decision_step < 0
    decided = np.where(silent, last.stop - last.start, run.decision_step + 1)
    waits = silent | (waits_for_all(run.program) is not None)
    ready = np.where(waits, run.steps_run, last.start + run.decision_step + 1)
    step, mean = run.program.profile.step_nanoseconds, float(ready.mean()) if len(ready) else 0.0
    return {
        "steps_to_decision_mean": float(decided.mean()) if len(decided) else 0.0,
        "steps_to_decision_max": int(decided.max(initial=0)),
        "latency_steps_mean": mean,
        "latency_steps_max": int(ready.max(initial=0)),
        "latency_ns_min": None if step is None else mean * step[0],
        "latency_ns_max": None if step is None else mean * step[1],
        "steps_run_mean": float(run.steps_run.mean()) if len(ready) else 0.0,
    }
