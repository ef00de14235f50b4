"""Figure 1a-c: what reaches the layers of a net, at initialisation and after training."""

from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from firstspike.inspect import HISTOGRAM_EDGES
from firstspike.report import figure, line_style

from ..grid import Condition, Profile
from ..measures import records
from ..records import Store
from .named_figure import NamedFigure, by_setup

_STAGES = (("init", "at initialisation"), ("trained", "after training"))


def currents(profile: Profile, store: Store) -> NamedFigure | None:
    """Distributions of the current in every layer: left halves at initialisation, right halves after training."""
    conditions = _conditions(profile, store)
    groups = list(dict.fromkeys(condition.group for condition in conditions))
    labels = list(dict.fromkeys(condition.label for condition in conditions))
    if not conditions:
        return None
    drawn, grid = figure(6.8, 3.9, nrows=len(groups), ncols=len(labels), sharex=True, sharey=True, squeeze=False)
    for condition in conditions:
        axes = grid[groups.index(condition.group)][labels.index(condition.label)]
        _violins(axes, records(condition, store))
    for column, label in enumerate(labels):
        grid[0][column].set_title(label)
        grid[-1][column].set_xlabel("layer")
    for row, group in enumerate(groups):
        grid[row][0].set_ylabel(f"{group}\ncurrent X[t] / threshold")
    grid[0][0].set_ylim(-4, 4)
    handles = [_patch(index, text) for index, (_, text) in enumerate(_STAGES)]
    drawn.legend(handles=handles, loc="outside upper right", ncols=2)
    return NamedFigure(
        "currents",
        drawn,
        f"Distributions of the post-synaptic current (the paper's Fig. 1a-c), {profile.title(conditions[0].setup)}: share "
        "of each value over samples, neurons and steps, in every layer. Widths go with the square root of the share, "
        "scaled to each half's maximum; the bars are ± one standard deviation. The first layer is directly coded: "
        "its current is the same in all steps, so it needs less.",
    )


def signal(profile: Profile, store: Store) -> NamedFigure | None:
    """Spread of the current, firing fraction and gradient over the layers, at initialisation and after training."""
    conditions = _conditions(profile, store)
    if not conditions:
        return None
    drawn, grid = figure(6.8, 4.6, nrows=2, ncols=3, sharex=True, sharey="col", squeeze=False)
    quantities = (("current_sd", "sd of the current"), ("firing", "neurons that fire"), ("gradient", "gradient, rms"))
    labels = list(dict.fromkeys(condition.label for condition in conditions))
    groups = list(dict.fromkeys(condition.group for condition in conditions))
    for row, (stage, when) in enumerate(_STAGES):
        for column, (name, title) in enumerate(quantities):
            axes = grid[row][column]
            for condition in conditions:
                group = groups.index(condition.group)
                _profile_line(axes, records(condition, store), stage, name, condition.label, labels.index(condition.label), group)
            if row == 0:
                axes.set_title(title)
            else:
                axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
        grid[row][0].set_ylabel(when)
    grid[0][0].set_ylim(bottom=0)
    grid[0][1].set_ylim(-0.03, 1.03)
    grid[0][2].set_yscale("log")
    handles, names = grid[0][0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside upper center", ncols=3)
    return NamedFigure(
        "signal",
        drawn,
        f"Signal and gradient over the layers, {profile.title(conditions[0].setup)}: standard deviation of the current in "
        "units of the threshold, share of neurons that fire, and root mean square of the loss's gradient with "
        "respect to the trained weight. Filled: without weight normalisation; open: with it. Mean over seeds. The "
        "last layer of a membrane readout does not fire; where the gradient is zero there is no point.",
    )


def _conditions(profile: Profile, store: Store) -> list[Condition]:
    """The cells of the first bench that has any record."""
    for conditions in by_setup(profile.of("figure1")).values():
        if any(records(condition, store) for condition in conditions):
            return conditions
    return []


def _violins(axes: Any, found: list[dict[str, Any]]) -> None:
    if not found:
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes, color="#777777")
        return
    middle = ((HISTOGRAM_EDGES[1:] + HISTOGRAM_EDGES[:-1]) / 2).numpy()
    layers = len(found[0]["results"]["diagnosis"]["init"])
    for layer in range(layers):
        for index, (stage, _) in enumerate(_STAGES):
            rows = [record["results"]["diagnosis"][stage][layer] for record in found]
            shares = np.mean([row["histogram"] for row in rows], axis=0)
            width = np.sqrt(shares[1:-1])  # the outer two bins hold all that lies beyond
            width *= (0.44 if index else -0.44) / max(width.max(), 1e-9)
            style = line_style(index)
            axes.fill_betweenx(middle[1:-1], layer + 1, layer + 1 + width, color=style.color, alpha=0.75, linewidth=0)
            mean = fmean(row["current_mean"] for row in rows)
            sd = fmean(row["current_sd"] for row in rows)
            place = layer + 1 + (0.06 if index else -0.06)
            axes.plot([place, place], [mean - sd, mean + sd], color="black", linewidth=1.1, solid_capstyle="butt")
    axes.axhline(1, color="#555555", linewidth=0.7, linestyle=(0, (4, 2)))
    axes.set_xticks(range(1, layers + 1))


def _profile_line(axes: Any, found: list[dict[str, Any]], stage: str, name: str, label: str, index: int, group: int) -> None:
    if not found:
        return
    rows = [record["results"]["diagnosis"][stage] for record in found]
    points = []
    for layer in range(len(rows[0])):
        values = [row[layer][name] for row in rows]
        if None not in values and (name != "gradient" or any(values)):  # a gradient of 0 has no place on the log axis
            points.append((layer + 1, fmean(values)))
    if not points:
        return
    style = line_style(index)
    look = {**style.plot(), "markerfacecolor": "white" if group else style.color}
    axes.plot(*zip(*points, strict=True), **look, label=f"{label}{', normalised' if group else ''}")


def _patch(index: int, text: str) -> Any:
    return Patch(facecolor=line_style(index).color, alpha=0.75, label=text)
