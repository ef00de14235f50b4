"""The figures: pure functions of a profile's cells and the records."""

from collections.abc import Callable

from firstspike.report import style

from ..grid import Profile
from ..records import Store
from .accuracy import accuracy
from .cost import cost, layers_cost
from .curves import curves
from .decisions import decisions
from .layers import currents, signal
from .named_figure import NamedFigure
from .sweeps import gamma, steps, timing

#: Every figure, in the order of the report, with the experiment that it draws.
FIGURES: dict[str, tuple[str, Callable[[Profile, Store], NamedFigure | None]]] = {
    "accuracy": ("table1", accuracy),
    "currents": ("figure1", currents),
    "signal": ("figure1", signal),
    "decisions": ("decoder", decisions),
    "curves": ("figure1", curves),
    "gamma": ("gamma", gamma),
    "steps": ("steps", steps),
    "time": ("time", timing),
    "cost": ("cost", cost),
    "cost_layers": ("cost", layers_cost),
}


def figures(profile: Profile, store: Store) -> list[NamedFigure]:
    """The figures that the profile has experiments for and that have any record."""
    with style():
        made = [make(profile, store) for experiment, make in FIGURES.values() if experiment in profile.experiments]
    return [drawn for drawn in made if drawn is not None]


__all__ = ["FIGURES", "NamedFigure", "figures"]
