"""What an answer costs: accuracy beside spikes, steps and energy by several models."""

import pandas as pd
from tools.tables import Column, present

from firstspike.report import MISSING

from ..answers import ENERGIES
from ..grid import Condition, Profile
from ..intervals import paired
from ..job import COUNTED
from ..measures import CHIP, MEASURES, by_seed, frame
from ..records import Store
from .table import SEEDS, SETUP, Table, result, rules

NAME = "cost"
RELU = "ReLU, batch normalisation"

_COLUMNS = (
    Column("label", "net"),
    SEEDS,
    Column("accuracy", "test, last epoch, %", result("accuracy")),
    Column("difference", "difference to ReLU"),
    Column("spikes_per_neuron", "spikes per neuron", "{:.2f}"),
    Column("additions_share", "additions / multiply-adds", "{:.2f}"),
    Column("answer_steps", "steps", "{:.0f}"),
    Column("neuron_by_neuron", "neuron by neuron, µJ", "{:.2f}"),
    Column("payload", "with payload, µJ", "{:.2f}"),
    Column("clocked", "clocked, µJ", "{:.2f}"),
    Column("times_lemaire", "Lemaire et al., times ReLU", "{:.2f}"),
    Column("dense", "as ReLU, dense, µJ", "{:.2f}"),
    Column("skipping", "as ReLU, skipping zeros, µJ", "{:.2f}"),
)


def cost(profile: Profile, store: Store) -> Table:
    """Accuracy, spikes, steps and energies of each net beside its ReLU counterpart."""
    raw = _frame(profile, store)
    note = (
        "The difference to the ReLU net is paired by seed. Additions, and of ReLU nets multiply-adds whose input is not 0, are "
        "parts of the multiply-adds of the dense ReLU net. Steps: until the scores are complete, the input's window included. "
        f"Energy per image, of the first {COUNTED:,} test images, by the table {CHIP} in three schedules, and by the model of "
        "Lemaire et al. (arXiv 2210.13107). The last columns are the row's net with ReLU in 8 bits, with its own zeros."
    )
    columns = (SETUP, *_COLUMNS, Column("commits", "commit", lambda each: each["commits"] or MISSING))
    return Table(NAME, "What an answer costs.", raw, columns, note, rules(raw, "setup"))


def answers(profile: Profile, store: Store, setup: str) -> pd.DataFrame:
    """The rows of one setup that have a record, in Markdown's columns."""
    raw = _frame(profile, store)
    raw = raw[(raw["setup"] == setup) & (raw["seeds"] > 0)]
    return present(raw, _COLUMNS)


def _frame(profile: Profile, store: Store) -> pd.DataFrame:
    raw = frame(profile, store, NAME, MEASURES | ENERGIES)
    conditions = profile.of(NAME)
    relu = {condition.setup: condition for condition in conditions if condition.label == RELU}
    raw["difference"] = [_difference(condition, relu[condition.setup], store) for condition in conditions]
    return raw


def _difference(condition: Condition, relu: Condition, store: Store) -> str:
    """The mean difference of accuracies to ReLU, paired by seed, with half of its 95 % interval."""
    values, other = (by_seed(each, store, MEASURES["accuracy"]) for each in (condition, relu))
    difference = None if condition is relu else paired(values, other)
    return MISSING if difference is None else difference.text()
