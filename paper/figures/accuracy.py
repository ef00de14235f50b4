"""Ours beside the published: one panel per data set."""

import textwrap
from itertools import accumulate
from typing import Any, NamedTuple

from matplotlib.ticker import MaxNLocator
from tools.tables import DATASETS

from firstspike.report import figure, line_style

from .. import published
from ..grid import Condition, Profile
from ..measures import records, row
from ..records import Store
from .named_figure import NamedFigure

_COLUMNS = 2  # of panels
_ROW, _LINE = 0.2, 0.14  # inches, of a name of one line and of each further line


class _Point(NamedTuple):
    """A row of a panel: a published figure or range, or ours with its deviation. series: our marker, None for the published."""

    name: str
    low: float
    high: float
    sd: float
    series: int | None
    text: str

    @property
    def height(self) -> float:
        """Inches that the row takes, for as many lines as its name has."""
        return _ROW + _LINE * self.name.count("\n")


def accuracy(profile: Profile, store: Store) -> NamedFigure | None:
    """Test accuracy of published methods and of our nets, for data sets that have both; without superseded nets and copies."""
    conditions = [
        condition
        for condition in profile.of("table1")
        if records(condition, store) and not condition.runs[0].images and not profile.setups[condition.setup].superseded
    ]
    datasets = [name for name in published.DATASETS if any(condition.runs[0].data == name for condition in conditions)]
    if not datasets:
        return None
    panels = [_points(profile, store, name, conditions) for name in datasets]
    sizes = [sum(point.height for point in points) for points in panels]
    heights = [0.9 + max(sizes[start : start + _COLUMNS]) for start in range(0, len(panels), _COLUMNS)]
    columns = min(_COLUMNS, len(panels))
    shape = {"nrows": len(heights), "ncols": columns, "gridspec_kw": {"height_ratios": heights}}
    drawn, grid = figure(9.0, sum(heights), squeeze=False, **shape)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, name, points, size in zip(grid.flat, datasets, panels, sizes, strict=False):
        ends = accumulate(point.height for point in points)
        places = [end - point.height / 2 for end, point in zip(ends, points, strict=True)]
        for place, point in zip(places, points, strict=True):
            _draw(axes, place, point)
        axes.margins(x=0.16)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=2))  # the panels are narrow
        axes.set_yticks(places, labels=[point.name for point in points])
        for tick, point in zip(axes.get_yticklabels(), points, strict=True):
            tick.set_fontweight("bold" if point.series is not None else "normal")
        axes.set_ylim(size + 0.02, -0.02)
        axes.grid(axis="y", visible=False)
        axes.set(title=DATASETS[name], xlabel="test accuracy, %")
    return NamedFigure(
        "accuracy",
        drawn,
        "Ours (bold, last epoch, mean ± sd over seeds) beside published results, whose sources are in the table below; * marks "
        "fewer seeds than planned. Grey bars are published ranges. Nets differ: this compares what is reported for a data set.",
    )


def _draw(axes: Any, place: float, point: _Point) -> None:
    """One row: a published figure or range in grey, or ours with its deviation, and the number beside it."""
    style = line_style(point.series) if point.series is not None else None
    color = style.color if style else "#8a8a8a"
    axes.plot([point.low, point.high], [place, place], color=color, linewidth=2)
    marker = style.marker if style else "D"
    size = 6 if style else 4
    axes.errorbar([point.high], [place], xerr=point.sd or None, color=color, marker=marker, markersize=size, capsize=2)
    where = (point.high + point.sd, place)
    axes.annotate(point.text, where, (7, 0), textcoords="offset points", va="center", fontsize=7.5, color="#444444")


def _points(profile: Profile, store: Store, dataset: str, conditions: list[Condition]) -> list[_Point]:
    """The rows of a data set's panel, best first."""
    points: list[_Point] = []
    for entry in published.source()["method"]:
        if entry["tag"] != "m" and dataset in entry:
            low, _, high = entry[dataset].partition("-")
            name = entry["name"].partition(" (")[0]
            points.append(_Point(name, float(low), float(high or low), 0.0, None, entry[dataset]))
    for condition in conditions:
        if condition.runs[0].data == dataset:
            made = row(condition, store, profile)
            title = profile.title(condition.setup).split(", ")[1:]  # "MNIST, wider CNN, shifted images"
            kind = ", ".join(part for part in title if not part.endswith(" images"))
            kind = kind or ("CNN" if "C" in made["net"] else "MLP")
            part = "*" if made["seeds"] < len(condition.runs) else ""
            sd = made["accuracy_sd"] if made["seeds"] > 1 else 0.0
            series = 0 if made["model"] == "ttfs" else 1
            changed = "" if made["augmentation"] == "none" else f", {made['augmentation']}"
            name = textwrap.fill(f"ours, {kind}, {condition.label}{changed}", 44)
            value = made["accuracy"]
            points.append(_Point(name, value, value, sd, series, f"{value:.2f}{part}"))
    return sorted(points, key=lambda point: -point.high)
