"""Energies of a net from the counts of its layers, an energy table and a schedule; and of the same net with ReLU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Literal, NamedTuple

import pandas as pd

from .._base import checks
from .counts import LayerCounts
from .table import EnergyTable, load

#: How a chip goes through a net: see `accounts`.
SCHEDULES: tuple[str, ...] = ("clocked", "event", "neuron-by-neuron", "payload")
WINDOWED_SCHEDULES = SCHEDULES[2:]
#: The parts of an `Account` that are updates of membranes.
UPDATES = ("updates_active", "updates_inactive", "visits", "register_steps", "updates")
# Where a table has no figure for multiply-adds: in integers, and in float32 on a host.
MAC_TABLES = {False: "45nm-integer", True: "45nm-float"}
_NEEDS = {"neuron-by-neuron": ("visit_pj", "register_step_pj"), "payload": ("integer_mac_pj", "update_active_pj")}


class Traffic(NamedTuple):
    """Means per sample. messages: spikes times the cores where their neuron has a synapse. east_west, north_south: hops."""

    messages: float
    east_west: float = 0.0
    north_south: float = 0.0


@dataclass(frozen=True)
class Account:
    """Energy per sample in nanojoules.

    Parameters
    ----------
    table : the figures.
    schedule : one of `SCHEDULES`.
    layers : per layer and part; None where the table has no figure, which sums leave out. "first_layer" are multiply-adds of a
        layer that gets real numbers.
    names : of the layers.
    chip : the parts that no layer has: messages of a placement, hops, static power.
    notes : what is not counted, and why.

    Examples
    --------
    >>> account = energy.accounts(inspect.counts(models.mlp("64-32-10", steps=8), torch.rand(20, 64)))
    >>> round(account.first_layer, 3), [round(nanojoules) > 0 for nanojoules in account.by_layer()]
    (3.174, [True, True])
    """

    table: EnergyTable
    schedule: str
    layers: list[dict[str, float | None]]
    names: list[str]
    chip: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, float | None]:
        """The sum over the layers of each part on the cores; None if the table has no figure for it."""
        sums: dict[str, float | None] = {}
        for layer in self.layers:
            for name, value in layer.items():
                before = sums.get(name, 0.0)
                sums[name] = None if value is None or before is None else before + value
        sums.pop("first_layer")
        return {**sums, **self.chip}

    @property
    def first_layer(self) -> float:
        """Multiply-adds of layers that get real numbers."""
        return float(sum(layer["first_layer"] or 0.0 for layer in self.layers))

    @property
    def cores(self) -> float:
        """Sum of the known parts on the cores."""
        return float(sum(value or 0.0 for value in self.parts.values()))

    @property
    def total(self) -> float:
        """Sum of all known parts, the first layer's multiply-adds included."""
        return self.cores + self.first_layer

    def by_layer(self) -> list[float]:
        """The sum of the known parts of each layer; what no layer has is left out."""
        return [float(sum(value or 0.0 for value in layer.values())) for layer in self.layers]

    def frame(self) -> pd.DataFrame:
        """One row per part, then the sums: part, energy_nj_per_image (None: unknown), share of the total."""
        values = {**self.parts, "cores": self.cores, "first_layer": self.first_layer, "total": self.total}
        shares = [None if value is None or not self.total else value / self.total for value in values.values()]
        return pd.DataFrame({"part": list(values), "energy_nj_per_image": list(values.values()), "share": shares})


def accounts(
    counts: Sequence[LayerCounts],
    table: str | EnergyTable = "45nm-integer",
    schedule: str = "clocked",
    *,
    traffic: Traffic | None = None,
    run_ns: float | None = None,
) -> Account:
    """Return the energy per sample of a net: its counts times the figures of a table, in the order of a schedule.

    - "clocked": every neuron is updated in every step of its windows.
    - "event": only neurons with an event are updated.
    - "neuron-by-neuron" (nets of windows): a layer's spikes are complete before it fires. A core takes them sorted by time, for
      one neuron after another. It visits the neuron's memory once, and keeps its state in registers for all steps.
      The sorting is not counted.
    - "payload" (nets of windows): a spike carries its level. It costs one multiply-add per synapse, every neuron is updated
      once, and a layer takes one step.

    Additions, spikes and multiply-adds of real numbers are counted in all of them.

    Parameters
    ----------
    counts : of the layers, by `inspect.counts` or `emulator.counts`.
    table : an energy table: its name, a TOML file, or an `EnergyTable`.
    schedule : one of `energy.SCHEDULES`.
    traffic : messages and hops of a placement on cores; by default each spike is one message to each layer that takes it.
    run_ns : time of a sample in nanoseconds, for static power; None if unknown.

    Raises
    ------
    ValueError : for a schedule that the net or the table cannot have.

    Examples
    --------
    >>> net, x = models.mlp("64-32-10", steps=8, timing="windowed").eval(), torch.rand(20, 64)
    >>> counts = inspect.counts(net, x)
    >>> energy.accounts(counts, "45nm-integer", "payload").total < energy.accounts(counts).total
    True
    """
    figures = load(table)
    check_schedule(counts, figures, schedule)
    layers = [{name: _nj(pj, count) for name, pj, count in _units(layer, figures, schedule, traffic)} for layer in counts]
    chip: dict[str, float | None] = {}
    if not figures.all_inclusive:
        if traffic is not None:
            name = "routing" if figures.message_pj is None else "messages"
            chip[name] = _nj(figures.transport_pj, traffic.messages)
        if figures.hop_east_west_pj is not None:
            moved = traffic or Traffic(0.0)
            hops = figures.hop_east_west_pj * moved.east_west + (figures.hop_north_south_pj or 0.0) * moved.north_south
            chip["hops"] = hops / 1e3
        chip["static"] = None if figures.static_mw is None or run_ns is None else figures.static_mw * run_ns / 1e3
    account = Account(figures, schedule, layers, [layer.name for layer in counts], chip)
    account.notes.extend(_notes(counts, account, traffic))
    return account


def check_schedule(counts: Sequence[LayerCounts], table: EnergyTable, schedule: str) -> None:
    """Raise ValueError where a net or a table cannot have a schedule."""
    checks.one_of("schedule", schedule, SCHEDULES)
    if not counts:
        raise ValueError("counts must hold at least one layer, got none")
    if schedule not in WINDOWED_SCHEDULES:
        return
    if any(layer.timing == "step" for layer in counts):
        raise ValueError(
            f'schedule must be "clocked" or "event" for a net that runs step by step, got {schedule!r}: '
            "its layers fire while spikes arrive; nets of windows can have it"
        )
    if why := missing_figures(table, schedule):
        raise ValueError(f'schedule {schedule!r}: table {table.name} {why}; "45nm-integer" has the figures')


def missing_figures(table: EnergyTable, schedule: str) -> str:
    """Why a table cannot have a schedule; empty if it can."""
    missing = [name for name in _NEEDS.get(schedule, ()) if getattr(table, name) is None]
    if table.all_inclusive and schedule in WINDOWED_SCHEDULES:
        return "includes all parts in one figure"
    return f"has no {' and '.join(missing)}" if missing else ""


def _nj(pj: float | None, count: float) -> float | None:
    return None if pj is None else pj * count / 1e3


def _units(
    layer: LayerCounts, table: EnergyTable, schedule: str, traffic: Traffic | None
) -> Iterator[tuple[str, float | None, float]]:
    """Yield name, picojoules of one and number of the parts of a layer."""
    payload = schedule == "payload" and layer.kind != "pool"
    operation_pj = table.integer_mac_pj if payload else table.operation_pj(layer.kind == "convolution")
    yield "synapses", operation_pj, layer.additions
    if not table.all_inclusive:
        on_cores = float(layer.on_cores)
        if schedule == "payload":
            yield "updates", table.update_active_pj, layer.neurons
        elif schedule == "neuron-by-neuron":
            yield "visits", table.visit_pj, layer.neurons
            yield "register_steps", table.register_step_pj, layer.neurons * (layer.in_steps + layer.steps)
        else:
            yield "updates_active", table.update_active_pj, on_cores * layer.active
        if schedule == "clocked":
            yield "updates_inactive", table.update_inactive_pj, on_cores * layer.idle
        if traffic is None:
            yield "routing" if table.message_pj is None else "messages", table.transport_pj, layer.events + layer.shortcut_events
        if table.fired_pj is not None:
            yield "firing", table.fired_pj, on_cores * layer.spikes
    yield "first_layer", direct_mac_pj(layer, table)[0], layer.direct_macs


def direct_mac_pj(layer: LayerCounts, table: EnergyTable) -> tuple[float, str]:
    """Return the picojoules of a multiply-add of real numbers, and the table that has the figure: this one or `MAC_TABLES`."""
    each = table.host_mac_pj if layer.host else table.mac_pj
    if each is not None:
        return each, table.name
    other = load(MAC_TABLES[layer.host])
    each = other.host_mac_pj if layer.host else other.mac_pj
    assert each is not None
    return each, other.name


def _notes(counts: Sequence[LayerCounts], account: Account, traffic: Traffic | None) -> Iterator[str]:
    table = account.table
    yield table.note
    for name, value in account.parts.items():
        if value is None:
            why = "power or time of a step is unknown" if name == "static" else "the table has no figure"
            yield f"{name}: {why}, not counted"
    for layer in counts:
        each, source = direct_mac_pj(layer, table)
        if layer.direct_macs and source != table.name:
            count = f"{layer.direct_macs:.0f} multiply-adds per image"
            yield f"first_layer: {count} at {each} pJ of table {source}; this table has no figure for them"
    if account.schedule == "event" and not table.all_inclusive:
        yield (
            "updates_active: one per neuron and step with an event, as on clocked cores; a core that updates at every event "
            "accesses its membranes more often, so its energy is higher than this"
        )
    if account.schedule == "neuron-by-neuron":
        yield "sorting a layer's spikes by time is not counted"
    if counts[0].timing == "windowed" and account.schedule == "clocked":
        yield "writes of currents between windows are not counted; an input window of fewer steps saves updates"
    if table.all_inclusive:
        yield "the table's synaptic operation includes everything else on the cores"
    if "hops" in account.chip and traffic is None:
        yield "hops: without a placement none are counted"


def relu_by_layer(
    counts: Sequence[LayerCounts], table: str | EnergyTable, *, bits: int | str = 8, skip_zeros: bool = False
) -> list[float] | None:
    """Return what `relu` sums, in nanojoules per layer; None if the table has no figure for multiply-adds."""
    figures = load(table)
    bits = bits if bits == "equal" else checks.integer("bits", bits, 1, 8)
    if figures.mac_pj is None:
        return None
    if bits != 8 and (figures.integer_mac_pj is None or figures.multiply_pj is None):
        raise ValueError(f'bits: table {figures.name} must have integer_mac_pj and multiply_pj; "45nm-integer" has them')
    energies = []
    for layer in counts:
        width = min(8, ceil(log2(layer.levels))) if isinstance(bits, str) else bits
        each = figures.mac_pj - (figures.multiply_pj or 0.0) * (1 - width / 8)
        energies.append(each * (layer.nonzero_macs if skip_zeros else layer.macs) / 1e3)
    return energies


def relu(
    counts: Sequence[LayerCounts],
    table: str | EnergyTable = "45nm-integer",
    *,
    bits: int | Literal["equal"] = 8,
    skip_zeros: bool = False,
) -> float | None:
    """Return the nanojoules per sample of the same net with ReLU: one multiply-add per weight and number.

    Its accumulators count as registers: neither their updates nor the writes of its outputs are counted.

    Parameters
    ----------
    counts, table : as of `accounts`.
    bits : of the numbers that are multiplied, 1 to 8. The energy of the multiplication is proportional to them; weights have 8.
        "equal": as many as the levels of a spike need, ceil(log2(T + 1)), the partner that Yan et al. ask for
        (arXiv 2409.08290).
    skip_zeros : leave out multiply-adds whose input is 0, as this net's own activations and pixels are.

    Returns
    -------
    None if the table has no figure for multiply-adds.

    Raises
    ------
    ValueError : for other bits than 8, if the table does not say what part of a multiply-add is its multiplication.

    Examples
    --------
    >>> counts = inspect.counts(models.mlp("64-32-10", steps=8), torch.rand(20, 64))
    >>> round(energy.relu(counts), 4), round(energy.relu(counts, bits=4), 4), round(energy.relu(counts, bits="equal"), 4)
    (3.6704, 3.4336, 3.6384)
    """
    layers = relu_by_layer(counts, table, bits=bits, skip_zeros=skip_zeros)
    return None if layers is None else float(sum(layers))
