"""What the parts of the method are worth: the ablation, and the kinds of pooling."""

import pandas as pd
from tools.tables import Column

from firstspike.report import MISSING

from .. import published
from ..grid import Condition, Profile
from ..intervals import paired
from ..job import COUNTED
from ..measures import MEASURES, by_seed, frame
from ..records import Store
from .table import ACCURACY, BEST, DECISION, SEEDS, SETUP, SILENT, Table, rules, spread

WHOLE = "+ TWD (all five)"


def table4(profile: Profile, store: Store) -> Table:
    """The ablation."""
    raw = frame(profile, store, "table4")
    raw["from_whole"] = [_from_whole(condition, profile, store) for condition in profile.of("table4")]
    columns = [
        Column("group", ""),
        Column("label", "components"),
        Column("lr", "learning rate", "{:g}"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("from_whole", "difference from all five, 95 % interval"),
        DECISION[0],
        SILENT,
        Column("repeated", "pooled units that fire twice or more, %", spread("repeated", 1)),
    ]
    ours = published.source()["table4"]
    if raw["setup"].nunique() > 1:
        columns.insert(0, SETUP)
    return Table(
        "table4",
        "Ablation (the paper's Table 4): five components added one after the other, and each one left out of the whole.",
        raw,
        tuple(columns),
        f"Published for Fashion-MNIST: {ours['none']:.2f} % with none of the five, {ours['all']:.2f} % with all "
        f"[{ours['tag']}]; the rows between are not known to us. In place of the components: He initialisation, max "
        "pooling, no normalisation, no affine and no bias, first-spike decoder; rows with TWD have ten outputs per class, the "
        f"others one. {_rates(profile)}Differences are paired by seed, with intervals by Student's t; one seed has none.",
        rules(raw, "setup", "group"),
    )


def _rates(profile: Profile) -> str:
    """How the rows' learning rates were chosen."""
    text = ""
    if any(condition.trials for condition in profile.of("table4")):
        text += "At full size the learning rates were chosen from the same four for every row, on images held out, one seed. "
    if "rows" in profile.asked["table4"]:
        text += (
            "Rows of the small net have the better of two learning rates on images held out, one seed; those without "
            "ETTFS-init, average pooling or affine were not tried and have that of the whole method. "
        )
    return text


def _from_whole(condition: Condition, profile: Profile, store: Store) -> str:
    """The accuracy of a row minus the accuracy of the whole method, seed by seed."""
    if condition.label == WHOLE:
        return ""
    whole = next(row for row in profile.of("table4") if row.setup == condition.setup and row.label == WHOLE)
    difference = paired(*(by_seed(row, store, MEASURES["accuracy"]) for row in (condition, whole)))
    return MISSING if difference is None else difference.text()


def learning_rates(profile: Profile, store: Store) -> Table:
    """The trials from which each row of the ablation has its learning rate: accuracy on images held out."""
    rows = []
    for condition in profile.of("table4"):
        found = {run.lr: record for run in condition.trials if (record := store.get(run)) is not None}
        if condition.trials:
            values = {f"lr {rate:g}": record["results"]["validation"] for rate, record in found.items()}
            head = {"title": profile.title(condition.setup), "group": condition.group, "label": condition.label}
            chosen = condition.runs[0].lr if len(found) == len(condition.trials) else None
            rows.append({**head, **values, "chosen": chosen})
    rates = sorted({run.lr for condition in profile.of("table4") for run in condition.trials})
    names = [f"lr {rate:g}" for rate in rates]
    raw = pd.DataFrame(rows, columns=["title", "group", "label", *names, "chosen"])
    columns = (
        SETUP,
        Column("group", ""),
        Column("label", "components"),
        *(Column(name, f"{name.removeprefix('lr ')}, %", "{:.2f}") for name in names),
        Column("chosen", "chosen", "{:g}"),
    )
    note = "One seed, on images held out of train; the test images choose nothing. Of equal accuracies the smaller rate."
    return Table(
        "learning_rates",
        "Learning rates of the ablation: validation accuracy of each row with each rate.",
        raw,
        columns,
        note,
        rules(raw, "title", "group"),
    )


def pooling(profile: Profile, store: Store) -> Table:
    """Average, max and earliest pooling."""
    raw = frame(profile, store, "pooling")
    columns = (
        SETUP,
        Column("label", "pooling"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("repeated", "pooled units that fire twice or more, %", spread("repeated", 2)),
        Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3)),
        Column("additions", "additions per sample, 10³", spread("additions", 0, 1e-3)),
        Column("epoch_seconds", "seconds per epoch", spread("epoch_seconds", 1)),
    )
    note = (
        f"Additions are events times their fan-out, of the first {COUNTED:,} test images; spikes per neuron are of all. "
        "Seconds are of training alone. With average pooling every event of the unpooled map enters the "
        "next layer; with the earliest spike one event per window does; with max pooling a window may send several, "
        "and the net is no longer a single-spike net."
    )
    return Table(
        "pooling",
        "Pooling: accuracy, violations of the single spike, operations.",
        raw,
        columns,
        note,
        rules(raw, "setup"),
    )
