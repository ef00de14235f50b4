"""A drawn figure, and small helpers that all figures share."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.figure import Figure

from firstspike.report import svg

from ..grid import Condition


@dataclass(frozen=True)
class NamedFigure:
    """A figure with its name (of the file) and its caption."""

    name: str
    figure: Figure
    caption: str

    @cached_property
    def svg(self) -> str:
        """The figure as SVG text, for the file and for the page; drawn once, so draw nothing on it afterwards."""
        return svg(self.figure)


def by_setup(conditions: list[Condition]) -> dict[str, list[Condition]]:
    """The conditions of each setup, in order."""
    setups: dict[str, list[Condition]] = {}
    for condition in conditions:
        setups.setdefault(condition.setup, []).append(condition)
    return setups


def empty(axes: Any, text: str) -> None:
    """A panel that has nothing to show says why."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color="#777777", transform=axes.transAxes)
