"""A net beside its ReLU partners: in all schedules and models, layer by layer, and what would make it cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from .._base import checks
from . import lemaire
from .account import SCHEDULES, UPDATES, WINDOWED_SCHEDULES, Account, accounts, missing_figures, relu, relu_by_layer
from .counts import LayerCounts
from .table import EnergyTable, load

_POOLED = 1.1  # additions per multiply-add with an input that is not 0, from which on average pools are named
_WITH_MEMORY = "45nm-integer"  # stands beside a table without figures of updates
_NOTABLE = 0.05  # share of the energy from which on a change is named


def possible(counts: Sequence[LayerCounts], table: EnergyTable) -> list[str]:
    """The schedules that a net and a table can have."""
    step = any(layer.timing == "step" for layer in counts)
    return [name for name in SCHEDULES if not (step and name in WINDOWED_SCHEDULES) and not missing_figures(table, name)]


def compare(counts: Sequence[LayerCounts], table: str | EnergyTable = "45nm-integer") -> pd.DataFrame:
    """Return the energies of a net in every schedule and model, beside the same net with ReLU.

    Parameters
    ----------
    counts, table : as of `energy.accounts`.

    Returns
    -------
    One row per schedule that the net and the table can have, by the model "operations", and one by the model "Lemaire 2022",
    which has figures of its own. Columns, in nanojoules per sample, NaN where a model has no such figure: `model`, `schedule`,
    `net`; `relu` dense in bytes, `relu_nonzero` without multiply-adds whose input is 0, `relu_bits` dense with as many bits as
    the levels of the spikes need; and `times_relu`, the net's energy over the dense one's.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8, timing="windowed").eval()
    >>> energy.compare(inspect.counts(net, torch.rand(20, 64)))["schedule"].tolist()
    ['clocked', 'event', 'neuron-by-neuron', 'payload', 'published']
    """
    figures = load(table)
    dense, nonzero = (relu(counts, figures, skip_zeros=skip) for skip in (False, True))
    narrow = None if figures.multiply_pj is None else relu(counts, figures, bits="equal")
    partners = {"relu": dense, "relu_nonzero": nonzero, "relu_bits": narrow}
    rows = [
        {"model": "operations", "schedule": name, "net": accounts(counts, figures, name).total, **partners}
        for name in possible(counts, figures)
    ]
    published = {"net": lemaire.spiking_nj(counts), "relu": lemaire.relu_nj(counts)}
    rows.append({"model": "Lemaire 2022", "schedule": "published", **published, "relu_nonzero": None, "relu_bits": None})
    frame = pd.DataFrame(rows).astype(dict.fromkeys(("net", *partners), float))
    return frame.assign(times_relu=frame["net"] / frame["relu"])


def break_even(
    counts: Sequence[LayerCounts], table: str | EnergyTable = "45nm-integer", schedule: str = "clocked"
) -> pd.DataFrame:
    """Return where each layer would need as much energy as with ReLU in bytes, dense.

    Parameters
    ----------
    counts, table, schedule : as of `energy.accounts`; the table must have a figure for multiply-adds.

    Returns
    -------
    One row per layer with multiply-adds, with the columns `layer`; `energy_nj` and `relu_nj`; `spikes_per_input`, and
    `break_even_spikes`, below which the layer needs less, 0 if its updates alone need more; `fan_in`, multiply-adds per neuron,
    and `break_even_fan_in`, above which it needs less with as many spikes per input, inf if no fan-in is enough. NaN where a
    layer gets real numbers, which it multiplies as ReLU does.

    Raises
    ------
    ValueError : if the table has no figure for multiply-adds.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8, timing="windowed").eval()
    >>> energy.break_even(inspect.counts(net, torch.rand(20, 64)))["fan_in"].tolist()
    [64.0, 32.0]
    """
    figures, account = load(table), accounts(counts, table, schedule)
    partner = relu_by_layer(counts, figures)
    if partner is None:
        raise ValueError(f'table {figures.name} must have integer_mac_pj or host_mac_pj; "45nm-integer" has them')
    rows = []
    for layer, parts, energy, dense in zip(counts, account.layers, account.by_layer(), partner, strict=True):
        if not layer.macs or not layer.neurons:
            continue
        row: dict[str, Any] = {"layer": layer.name, "energy_nj": energy, "relu_nj": dense, "fan_in": layer.macs / layer.neurons}
        if not layer.direct_macs:
            additions = parts["synapses"] or 0.0
            rest, spikes = energy - additions, layer.events / layer.sources
            left = dense - additions  # of the dense layer's energy, for updates
            row |= {
                "spikes_per_input": spikes,
                "break_even_spikes": max(dense - rest, 0.0) * spikes / additions if additions else math.nan,
                "break_even_fan_in": rest / left * row["fan_in"] if left > 0 else math.inf,
            }
        rows.append(row)
    columns = ["layer", "energy_nj", "relu_nj", "spikes_per_input", "break_even_spikes", "fan_in", "break_even_fan_in"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class Change:
    """A setting that lowers the energy of a net: its words, and the nanojoules per sample with as many spikes, if known."""

    words: str
    nanojoules: float | None = None


def verdict(
    counts: Sequence[LayerCounts],
    table: str | EnergyTable = "45nm-integer",
    schedule: str = "clocked",
    *,
    schedules: Sequence[str] | None = None,
) -> list[str]:
    """Return three sentences: whether a net needs less energy than with ReLU, what takes it, and what to change.

    Parameters
    ----------
    counts, table, schedule : as of `energy.accounts`.
    schedules : those that the chip can have; None: no chip is given, and others are named.

    Examples
    --------
    >>> counts = inspect.counts(models.mlp("64-32-10", steps=8), torch.rand(20, 64))
    >>> energy.verdict(counts)[0].partition(":")[0]
    'More energy than with ReLU'
    """
    figures = load(table)
    account = accounts(counts, figures, schedule)
    return [_beside_relu(counts, account), _cause(counts, account), _remedy(counts, account, schedules)]


def _beside_relu(counts: Sequence[LayerCounts], account: Account) -> str:
    dense, nonzero = (relu(counts, account.table, skip_zeros=skip) for skip in (False, True))
    how = f"({account.table.name}, {account.schedule})"
    if dense is None or nonzero is None:
        with_figure = 'table "45nm-integer" has one'
        return f"{_nanojoules(account.total)} {how}: the table has no figure for a net with ReLU; {with_figure}."
    answer = "Less" if account.total < nonzero else "More" if account.total > dense else "Less, unless ReLU skips its zeros:"
    skipping = "" if nonzero == dense else f", {_ratio(account.total, nonzero)} times where it skips zeros"
    numbers = "float32" if account.table.integer_mac_pj is None else "int8"
    times = f"{_ratio(account.total, dense)} times the {_nanojoules(dense)} of the same net in {numbers}{skipping}"
    said = f"{answer} energy than with ReLU: {_nanojoules(account.total)} are {times} {how}."
    if account.table.update_active_pj is not None or account.table.all_inclusive:
        return said
    memory = _total(counts, load(_WITH_MEMORY), account.schedule) / (relu(counts, _WITH_MEMORY) or math.nan)
    return f"{said} This leaves out memory; with it, {memory:.2f} times ({_WITH_MEMORY})."


def _shares(counts: Sequence[LayerCounts], account: Account) -> Iterator[tuple[float, str, int]]:
    """Yield nanojoules, kind and layer of every part of the account."""
    kinds = {"synapses": "additions", "first_layer": "multiply-adds", **dict.fromkeys(UPDATES, "updates")}
    for n, parts in enumerate(account.layers):
        sums: dict[str, float] = {}
        for name, value in parts.items():
            kind = kinds.get(name, "spikes")
            sums[kind] = sums.get(kind, 0.0) + (value or 0.0)
        yield from ((value, kind, n) for kind, value in sums.items())


def _cause(counts: Sequence[LayerCounts], account: Account) -> str:
    value, kind, n = max(_shares(counts, account))
    what = {
        "updates": "updates of its neurons",
        "additions": "additions for spikes",
        "multiply-adds": "multiply-adds of real numbers",
        "spikes": "sending its spikes",
    }[kind]
    layer = counts[n]
    why = ""
    if kind == "updates" and account.schedule == "clocked":
        steps = layer.steps + layer.in_steps
        why = f", {layer.neurons} neurons in each of {steps:.0f} steps"
    elif kind == "additions" and layer.additions > _POOLED * layer.nonzero_macs:
        why = f", {layer.additions / layer.nonzero_macs:.2f} for each product of an averaged input that is not 0"
    return f"Most of it, {_nanojoules(value)} of {_nanojoules(account.total)}, goes to layer {layer.name}: {what}{why}."


def _remedy(counts: Sequence[LayerCounts], account: Account, schedules: Sequence[str] | None) -> str:
    changes = list(_changes(counts, account, schedules))
    told = [c.words if c.nanojoules is None else f"{c.words} ({_nanojoules(c.nanojoules)})" for c in changes]
    return f"To change, best first (nJ with as many spikes): {'; '.join(told)}."


def _changes(counts: Sequence[LayerCounts], account: Account, schedules: Sequence[str] | None) -> Iterator[Change]:
    """Yield what the account's own parts say, cheapest first; then what needs training."""
    table, schedule = account.table, account.schedule
    known: list[Change] = []
    first = counts[0]
    if first.in_steps > checks.INPUT_STEPS and first.timing == "windowed":
        known.append(Change(f"input_steps = {checks.INPUT_STEPS}", _total([_shorter(first), *counts[1:]], table, schedule)))
    known += [
        Change(f'{"a chip with the" if schedules is None else "the"} schedule "{other}"', _total(counts, table, other))
        for other in possible(counts, table)
        if other in WINDOWED_SCHEDULES and other != schedule and other in (schedules or SCHEDULES)
    ]
    if first.direct_macs:
        known.append(Change('encoder = "latency"', _total([_spiking(first), *counts[1:]], table, schedule)))
    yield from sorted(
        (each for each in known if (each.nanojoules or 0.0) < account.total), key=lambda each: each.nanojoules or 0.0
    )
    if any(layer.additions > _POOLED * layer.nonzero_macs > 0 for layer in counts):
        yield Change("max pools, which send one spike where average pools send all")
    if any(layer.steps > 4 for layer in counts):
        yield Change("fewer steps")
    yield Change("fewer spikes, by a penalty in training or by pruning")


def _total(counts: Sequence[LayerCounts], table: EnergyTable, schedule: str) -> float:
    return accounts(counts, table, schedule).total


def _shorter(layer: LayerCounts) -> LayerCounts:
    """The layer with a short window of its input, and as many spikes."""
    before, after = layer.in_steps + layer.steps, checks.INPUT_STEPS + layer.steps
    return replace(layer, in_steps=checks.INPUT_STEPS, active=layer.active * after / before, idle=layer.idle * after / before)


def _spiking(layer: LayerCounts) -> LayerCounts:
    """A directly coded layer that gets one spike for each number that is not 0."""
    return replace(layer, direct_macs=0.0, additions=layer.nonzero_macs, on_cores=True, host=False)


def _ratio(value: float, other: float) -> str:
    return f"{value / other:.2f}" if other else "inf"


def _nanojoules(value: float) -> str:
    return f"{value:.4g} nJ" if value < 1e4 else f"{value / 1e3:.4g} \u00b5J"
