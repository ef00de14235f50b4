"""Training speed and stability."""

from typing import Any

import pandas as pd
from tools.tables import Column

from ..grid import Condition, Profile
from ..measures import frame, learning_curve, mean_and_sd, records
from ..records import Store
from .table import ACCURACY, BEST, SEEDS, SETUP, Table, rules, spread


def speed(profile: Profile, store: Store) -> Table:
    """How fast and how evenly each initialisation learns."""
    target = float(profile.asked["figure1"].get("target_accuracy", 0))
    raw = frame(profile, store, "figure1")
    reached = pd.DataFrame([_reached(condition, store, target) for condition in profile.of("figure1")])
    raw = pd.concat([raw, reached], axis=1)
    columns = (
        SETUP,
        Column("group", ""),
        Column("label", "initialisation"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("reached", f"epochs to {target:g} %", spread("reached", 1)),
        Column("reached_seconds", "seconds", spread("reached_seconds", 1)),
    )
    note = (
        f"The first epoch with an accuracy of at least {target:g} %, on images held out where there are any, else test; "
        "a dash where not every seed gets there. Seconds are of training alone."
    )
    return Table(
        "speed",
        "Training speed and stability of each initialisation.",
        raw,
        columns,
        note,
        rules(raw, "setup", "group"),
    )


def _reached(condition: Condition, store: Store, accuracy: float) -> dict[str, float]:
    """Mean and sd over seeds of the epoch that reaches the accuracy, and of the time until then; NaN if one fails."""
    found = records(condition, store)
    epochs = [epoch for record in found if (epoch := first_to_reach(record, accuracy)) is not None]
    if not found or len(epochs) < len(found):
        epochs = []
    seconds = [sum(record["timing"]["epochs"][:epoch]) for record, epoch in zip(found, epochs, strict=False)]
    made = {}
    for name, values in (("reached", epochs), ("reached_seconds", seconds)):
        made[name], made[f"{name}_sd"] = mean_and_sd(values)
    return made


def first_to_reach(record: dict[str, Any], accuracy: float) -> int | None:
    """The first epoch, from 1, whose `learning_curve` has at least this accuracy in per cent, or None."""
    return next((epoch for epoch, value in enumerate(learning_curve(record)[1], 1) if value >= accuracy), None)
