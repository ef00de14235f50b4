"""Decoders, and sweeps over one setting."""

from collections.abc import Callable

from tools.tables import Column

from ..grid import Profile
from ..measures import frame
from ..records import Store
from .table import ACCURACY, BEST, DECISION, SEEDS, SETUP, SILENT, TIES, VALIDATION, Table, rules


def decoder(profile: Profile, store: Store) -> Table:
    """Decoders: accuracy and steps to decision."""
    raw = frame(profile, store, "decoder")
    columns = (SETUP, Column("label", "decoder"), Column("steps", "T"), SEEDS, ACCURACY, BEST, *DECISION, TIES, SILENT)
    note = (
        "Steps to decision: with TWD and first spike, the step of the first output spike, counted from 1; T where no "
        "output fires. TWD has ten outputs per class, first spike one, and the first of more neurons is earlier. A membrane "
        "decides only after all T steps; for it the table has the step from which on the prediction no longer changes, which is "
        "known only afterwards. Ties: samples whose first output step has spikes "
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
