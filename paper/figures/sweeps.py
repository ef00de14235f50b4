"""Sweeps over one number: the base of temporal weighting, the number of steps."""

from typing import Any

import numpy as np

from firstspike.report import figure, line_style

from ..grid import Condition, Profile
from ..measures import MEASURES, records
from ..records import Store
from .named_figure import NamedFigure, by_setup

#: The label of a measure's axis, and a range that it shows in any case, lest noise fill the panel.
_AXES: dict[str, tuple[str, tuple[float, ...]]] = {
    "accuracy": ("test accuracy, %", ()),
    "decision_mean": ("first output spike, steps", (1, 2)),
    "ties": ("ties, % of samples", (0, 100)),
    "spikes_per_neuron": ("spikes per neuron", (0,)),
    "epoch_seconds": ("seconds per epoch", (0,)),
}


def gamma(profile: Profile, store: Store) -> NamedFigure | None:
    """Accuracy and steps to decision against the base of the exponential TWD."""
    return _sweep(
        profile,
        store,
        "gamma",
        "base γ of w[t] = γ⁻ᵗ",
        ("accuracy", "decision_mean", "ties"),
        "Temporal weighting: the base γ. Near 1 all spikes weigh alike and the first step says little.",
    )


def steps(profile: Profile, store: Store) -> NamedFigure | None:
    """Accuracy, spikes and time of an epoch against the number of steps."""
    return _sweep(
        profile,
        store,
        "steps",
        "steps T",
        ("accuracy", "spikes_per_neuron", "epoch_seconds"),
        "The number of steps T: accuracy, spikes, and the time that an epoch takes.",
        logarithmic=True,
    )


def timing(profile: Profile, store: Store) -> NamedFigure | None:
    """Accuracy against T of each way to use time, one panel per setup that has records, with the ReLU counterparts as lines."""
    setups = by_setup(profile.of("time"))
    setups = {name: found for name, found in setups.items() if any(records(condition, store) for condition in found)}
    if not setups:
        return None
    groups = list(dict.fromkeys(condition.group for condition in profile.of("time")))
    columns = min(2, len(setups))
    rows = -(-len(setups) // columns)
    drawn, panels = figure(6.8, 0.5 + 2.4 * rows, nrows=rows, ncols=columns, squeeze=False)
    for axes, (setup, conditions) in zip(panels.flat, setups.items(), strict=False):
        swept = [condition for condition in conditions if condition.value is not None]
        for index, group in enumerate(groups):
            _line(axes, [condition for condition in swept if condition.group == group], store, "accuracy", index, group)
        for condition in conditions:
            values = [value for record in records(condition, store) if (value := MEASURES["accuracy"](record)) is not None]
            if condition.value is None and values:
                style = {**line_style(groups.index(condition.group)).plot(), "marker": ""}
                axes.axhline(np.mean(values), **style, label=condition.group)
        axes.set(title=profile.title(setup), xlabel="steps T", ylabel="test accuracy, %")
        _powers(axes, [condition.value for condition in swept])
    for axes in panels.flat[len(setups) :]:
        axes.set_visible(False)
    pairs = [pair for axes in panels.flat for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    named = {name: handle for handle, name in pairs}
    drawn.legend(named.values(), named.keys(), loc="outside upper center", ncols=3)
    caption = "Accuracy against the number of steps T, mean ± sd over seeds; ReLU as lines without marks."
    return NamedFigure("time", drawn, caption)


def _sweep(
    profile: Profile,
    store: Store,
    name: str,
    label: str,
    measures: tuple[str, ...],
    caption: str,
    logarithmic: bool = False,
) -> NamedFigure | None:
    setups = by_setup(profile.of(name))
    if not any(records(condition, store) for conditions in setups.values() for condition in conditions):
        return None
    drawn, panels = figure(6.8, 2.5, ncols=len(measures))
    for index, (setup, conditions) in enumerate(setups.items()):
        for axes, measure in zip(panels, measures, strict=True):
            _line(axes, conditions, store, measure, index, profile.title(setup))
    for axes, measure in zip(panels, measures, strict=True):
        text, shown = _AXES[measure]
        axes.set(xlabel=label, ylabel=text)
        axes.update_datalim([(conditions[0].value, value) for value in shown], updatex=False)
        axes.autoscale_view()
        if logarithmic:
            _powers(axes, [condition.value for condition in profile.of(name)])
    if len(setups) > 1:
        handles, names = panels[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside upper center", ncols=3)
        return NamedFigure(name, drawn, f"{caption} Mean ± sd over seeds.")
    return NamedFigure(name, drawn, f"{caption} {profile.title(next(iter(setups)))}, mean ± sd over seeds.")


def _line(axes: Any, conditions: list[Condition], store: Store, measure: str, index: int, name: str) -> None:
    points = []
    for condition in conditions:
        values = [value for record in records(condition, store) if (value := MEASURES[measure](record)) is not None]
        if values:
            points.append((condition.value, np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0))
    if points:
        x, y, error = zip(*points, strict=True)
        axes.errorbar(x, y, yerr=error if any(error) else None, **line_style(index).plot(), label=name, capsize=2)


def _powers(axes: Any, values: list[Any]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(set(values)), labels=[str(value) for value in sorted(set(values))])
    axes.minorticks_off()
