"""Accuracy against energy, and energy by layer."""

import textwrap
from collections.abc import Callable
from statistics import fmean
from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from firstspike.report import figure, line_style

from ..answers import ENERGIES, by_layer, counts, relu_by_layer
from ..grid import Condition, Profile
from ..measures import Record, records
from ..records import Store
from .named_figure import NamedFigure, by_setup

#: The panels: a measure of spiking nets, its title.
_PANELS = {
    "neuron_by_neuron": "neuron by neuron",
    "payload": "with payload",
    "clocked": "clocked",
    "lemaire": "Lemaire et al.",
}


_SPAN = 0.5  # points of accuracy that a panel shows at least, lest noise fill it


def cost(profile: Profile, store: Store) -> NamedFigure | None:
    """Accuracy against energy on a logarithmic axis: a row per setup, a panel per model."""
    setups = _with_counts(profile, store)
    if not setups:
        return None
    drawn, grid = figure(9.0, 0.6 + 2.0 * len(setups), nrows=len(setups), ncols=len(_PANELS), squeeze=False, sharey="row")
    for panels, (setup, conditions) in zip(grid, setups.items(), strict=True):
        for axes, (measure, title) in zip(panels, _PANELS.items(), strict=True):
            _panel(axes, measure, conditions, store)
            axes.set(title=title, xlabel="µJ per image", xscale="log")
            left, right = axes.get_xlim()
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if right > 4 * left else MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.minorticks_off()
        low, high = panels[0].get_ylim()
        panels[0].set_ylim(min(low, (low + high - _SPAN) / 2), max(high, (low + high + _SPAN) / 2))
        panels[0].set_ylabel("\n".join([*textwrap.wrap(profile.title(setup), 22), "test accuracy, %"]))
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    drawn.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    caption = "Accuracy against the energy of an answer, means over seeds. Along a line the penalty differs."
    return NamedFigure("cost", drawn, caption)


def _with_counts(profile: Profile, store: Store) -> dict[str, list[Condition]]:
    """The conditions with records by setup, of setups that have a net of windows with counts."""
    setups = {}
    for setup, conditions in by_setup(profile.of("cost")).items():
        there = [condition for condition in conditions if records(condition, store)]
        if any(counts(record) for condition in there for record in records(condition, store)):
            setups[setup] = there
    return setups


def _panel(axes: Any, measure: str, conditions: list[Condition], store: Store) -> None:
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in _SERIES}
    for condition in conditions:
        found = records(condition, store)
        accuracy = fmean(record["results"]["test"]["accuracy"] for record in found)
        for name, energy in _SERIES.items():
            values = [value for record in found if (value := energy(record, measure)) is not None]
            if values:
                series[name].append((fmean(values), accuracy))
    for index, (name, points) in enumerate(series.items()):
        if points:
            axes.plot(*zip(*sorted(points), strict=True), **line_style(index).plot(), label=name)


def _spiking(kind: str, *, single: bool = False) -> Callable[[Record, str], float | None]:
    """Energies of spiking nets of a kind, with averages of a single spike or without."""

    def found(record: Record, measure: str) -> float | None:
        return ENERGIES[measure](record) if _kind(record) == kind and _is_single(record) == single else None

    return found


def _is_single(record: Record) -> bool:
    return bool(record["spec"].get("pooling") == "single")


def _kind(record: Record) -> str:
    spec = record["spec"]
    if spec["model"] == "relu":
        return "relu"
    return "ramp" if spec.get("synaptic_decay") else str(spec["timing"])


def _dense(record: Record, measure: str) -> float | None:
    if _kind(record) != "relu" or record["spec"].get("spike_penalty"):  # zeros save nothing
        return None
    return ENERGIES["lemaire_dense" if measure == "lemaire" else "dense"](record)


def _skipping(record: Record, measure: str) -> float | None:
    return ENERGIES["skipping"](record) if _kind(record) == "relu" and measure != "lemaire" else None


def _equal_bits(record: Record, measure: str) -> float | None:
    if _kind(record) != "windowed" or _is_single(record) or measure == "lemaire":
        return None
    return ENERGIES["equal_bits"](record)


#: What is drawn: the energy of a record by a measure, None where the series does not have it.
_SERIES: dict[str, Callable[[Record, str], float | None]] = {
    "windows": _spiking("windowed"),
    "ReLU, 8 bits, dense": _dense,
    "ReLU, 8 bits, skipping zeros": _skipping,
    "step by step": _spiking("step"),
    "the net of windows as a ReLU net of as many bits, skipping zeros": _equal_bits,
    "windows, single-spike averages": _spiking("windowed", single=True),
    "step by step, ramp": _spiking("ramp"),
}


def layers_cost(profile: Profile, store: Store) -> NamedFigure | None:
    """Energy by layer, stacked: the nets of the first setup in each schedule, beside ReLU."""
    setups = _with_counts(profile, store)
    if not setups:
        return None
    conditions = next(iter(setups.values()))
    bars: dict[str, list[float]] = {}
    names: list[str] = []
    for condition in conditions:
        record = records(condition, store)[0]
        if _kind(record) != "windowed":
            continue
        names = [layer.name for layer in counts(record)]
        if not bars:
            bars["ReLU, dense"] = relu_by_layer(record) or []
            bars["ReLU, skipping zeros"] = relu_by_layer(record, skip_zeros=True) or []
        for schedule in ("neuron-by-neuron", "payload"):
            bars[f"{condition.label}, {schedule.replace('-', ' ')}"] = by_layer(record, schedule) or []
    drawn, axes = figure(6.8, 0.9 + 0.26 * len(bars))
    left = [0.0] * len(bars)
    for index, name in enumerate(names):
        widths = [values[index] for values in bars.values()]
        axes.barh(range(len(bars)), widths, left=left, color=line_style(index).color, label=name, height=0.7)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(bars)), labels=list(bars))
    axes.invert_yaxis()
    axes.set(xlabel="µJ per image")
    axes.grid(axis="y", visible=False)
    drawn.legend(loc="outside upper center", ncols=len(names))
    return NamedFigure("cost_layers", drawn, f"Energy by layer: {profile.title(conditions[0].setup)}, seed 0.")
