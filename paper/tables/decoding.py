"""Decoders, and sweeps over one setting."""

import math
from collections.abc import Callable

from tools.tables import Column

from ..grid import Profile
from ..measures import frame
from ..records import Store
from .table import ACCURACY, BEST, DECISION, SEEDS, SETUP, SILENT, TIES, VALIDATION, Table, rules


def decoder(profile: Profile, store: Store) -> Table:
    """Decoders: accuracy and the step of the first output spike."""
    raw = frame(profile, store, "decoder")
    known_afterwards = [name for column in DECISION for name in (column.name, f"{column.name}_sd")]
    raw.loc[raw["readout"].str.startswith("membrane"), known_afterwards] = math.nan
    columns = (SETUP, Column("label", "decoder"), Column("steps", "T"), SEEDS, ACCURACY, BEST, *DECISION, TIES, SILENT)
    note = (
        "Steps: that of the first output spike, counted from 1; T where no output fires. TWD has ten outputs per class, first "
        "spike one, and the first of more neurons is earlier. A membrane decides after all T steps. "
        "Ties: samples whose first output step has spikes "
        "of several classes. Silent: samples without an output spike."
    )
    return Table("decoder", "Decoders, each trained with its own readout.", raw, columns, note, rules(raw, "setup"))


def sweep(name: str, caption: str, extra: tuple[Column, ...], note: str = "") -> Callable[[Profile, Store], Table]:
    """A table for a sweep over one setting."""

    def make(profile: Profile, store: Store) -> Table:
        raw = frame(profile, store, name)
        columns = (SETUP, Column("label", "setting"), SEEDS, VALIDATION, ACCURACY, *extra)
        return Table(name, caption, raw, columns, note, rules(raw, "setup"))

    return make
