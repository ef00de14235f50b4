"""The tables: pure functions of a profile's cells and the records. A cell that was not run says so."""

from collections.abc import Callable

from tools.tables import Column

from firstspike.report import MISSING

from .. import published
from ..grid import Profile
from ..records import Store
from .accuracy import literature, table1
from .components import learning_rates, pooling, table4
from .cost import cost
from .decoding import decoder, sweep
from .energy import energy
from .speed import speed
from .table import DECISION, SILENT, TIES, Table, spread
from .timing import timing

_SPIKES = Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3))
_PARAMETERS = Column("parameters", "parameters", "{:,.0f}")
_STEPS = Column("steps", "T", lambda row: MISSING if row["model"] == "relu" else str(row["steps"]))
_CHOSEN = "The best setting is chosen by the validation column; where it is empty nothing was held out and nothing chosen."

#: Every table, in the order of the report; those that a profile has nothing for are left out.
TABLES: dict[str, tuple[str, Callable[[Profile, Store], Table]]] = {
    "table1": ("table1", table1),
    "published": ("table1", literature),
    "table4": ("table4", table4),
    "learning_rates": ("table4", learning_rates),
    "speed": ("figure1", speed),
    "pooling": ("pooling", pooling),
    "decoder": ("decoder", decoder),
    "gamma": (
        "gamma",
        sweep("gamma", "Temporal weighting with w[t] = γ⁻ᵗ: the base γ.", (*DECISION, TIES, SILENT), _CHOSEN),
    ),
    "steps": (
        "steps",
        sweep(
            "steps",
            "The number of steps T.",
            (*DECISION, _SPIKES, Column("epoch_seconds", "seconds per epoch", spread("epoch_seconds", 1))),
            _CHOSEN,
        ),
    ),
    "time": ("time", timing),
    "windows": (
        "windows",
        sweep(
            "windows",
            "Nets of windows made for accuracy, each beside the same net with ReLU.",
            (_PARAMETERS, _STEPS, _SPIKES),
        ),
    ),
    "yin-yang": (
        "yin-yang",
        sweep(
            "yin-yang",
            "Yin-Yang: each way to use time.",
            (_PARAMETERS, _STEPS, DECISION[0], Column("latency", "latency, steps", "{:.0f}"), _SPIKES),
            published.yin_yang(),
        ),
    ),
    "encoder": ("encoder", sweep("encoder", "The encoder of the input.", (*DECISION, _SPIKES), _CHOSEN)),
    "energy": ("table1", energy),
    "cost": ("cost", cost),
}


def tables(profile: Profile, store: Store) -> list[Table]:
    """The tables that the profile has experiments for."""
    made = [make(profile, store) for experiment, make in TABLES.values() if experiment in profile.experiments]
    return [table for table in made if len(table.raw)]


__all__ = ["TABLES", "Table", "tables"]
