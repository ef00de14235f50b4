"""Training speed and stability: accuracy over epochs and over seconds, initialisation by initialisation."""

from itertools import accumulate as running
from typing import Any

import numpy as np

from firstspike.report import figure, line_style

from ..grid import Profile
from ..measures import learning_curve, records
from ..records import Store
from .named_figure import NamedFigure, by_setup


def curves(profile: Profile, store: Store) -> NamedFigure | None:
    """Training loss and accuracy against epochs, and accuracy against seconds, for each initialisation."""
    setups = by_setup(profile.of("figure1"))
    setup = next((name for name in setups if any(records(condition, store) for condition in setups[name])), None)
    if setup is None:
        return None
    conditions = setups[setup]
    drawn, panels = figure(6.8, 2.9, ncols=3)
    labels = list(dict.fromkeys(condition.label for condition in conditions))
    measured = ""
    groups = list(dict.fromkeys(condition.group for condition in conditions))
    for condition in conditions:
        found = records(condition, store)
        if not found:
            continue
        style = line_style(labels.index(condition.label))
        group = groups.index(condition.group)
        look = {**style.plot(), "markerfacecolor": "white" if group else style.color}
        name = f"{condition.label}{', normalised' if group else ''}"
        epochs = np.arange(1, len(found[0]["results"]["curve"]["loss"]) + 1)
        _band(panels[0], epochs, [record["results"]["curve"]["loss"] for record in found], look, name)
        measured, _ = learning_curve(found[0])
        accuracy = [learning_curve(record)[1] for record in found]
        _band(panels[1], epochs, accuracy, look, name)
        seconds = np.mean([list(running(record["timing"]["epochs"])) for record in found], axis=0)
        _band(panels[2], seconds, accuracy, look, name)
    panels[0].set(xlabel="epoch", ylabel="training loss", yscale="log")
    for set_formatter in (panels[0].yaxis.set_major_formatter, panels[0].yaxis.set_minor_formatter):
        set_formatter("{x:.1g}")
    panels[1].set(xlabel="epoch", ylabel=f"{measured} accuracy, %")
    panels[2].set(xlabel="training time, s", ylabel=f"{measured} accuracy, %")
    for axes in panels[:2]:
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, names = panels[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside upper center", ncols=3)
    return NamedFigure(
        "curves",
        drawn,
        f"Training speed and stability, {profile.title(setup)}: mean over seeds, with a band from the lowest to the "
        "highest seed.",
    )


def _band(axes: Any, x: Any, rows: list[list[float]], look: dict[str, Any], name: str) -> None:
    values = np.array(rows)
    axes.plot(x, values.mean(0), **look, label=name)
    if len(rows) > 1:
        axes.fill_between(x, values.min(0), values.max(0), color=look["color"], alpha=0.15, linewidth=0)
