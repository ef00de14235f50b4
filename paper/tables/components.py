"""What the parts of the method are worth: the ablation, and the kinds of pooling."""

from firstspike.report import Column

from .. import published
from ..grid import Profile
from ..measures import frame
from ..records import Store
from .table import ACCURACY, BEST, DECISION, SEEDS, SETUP, SILENT, Table, rules, spread


def table4(profile: Profile, store: Store) -> Table:
    """The ablation."""
    raw = frame(profile, store, "table4")
    columns = [
        Column("group", ""),
        Column("label", "components"),
        Column("lr", "learning rate", "{:g}"),
        SEEDS,
        ACCURACY,
        BEST,
        DECISION[0],
        SILENT,
        Column("repeated", "pooled units that fire twice or more, %", spread("repeated", 1)),
    ]
    ours = published.source()["table4"]
    if raw["setup"].nunique() > 1:
        columns.insert(0, SETUP)
    return Table(
        "table4",
        "Ablation (the paper's Table 4): five components added one after the other, and each one left out of the "
        "whole.",
        raw,
        tuple(columns),
        f"Published for Fashion-MNIST: {ours['none']:.2f} % with none of the five, {ours['all']:.2f} % with all "
        f"[{ours['tag']}]; the rows between are not known to us. In place of the components: He initialisation, max "
        "pooling, no normalisation, no affine and no bias, first-spike decoder. Learning rates were chosen on images held "
        "out of train, from the same few for both ends (NOTES.md); nothing else differs but the components.",
        rules(raw, "setup", "group"),
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
        Column("additions", "additions a sample, 10³", spread("additions", 0, 1e-3)),
        Column("epoch_seconds", "seconds an epoch", spread("epoch_seconds", 1)),
    )
    note = (
        "Additions are events times their fan-out. With average pooling every event of the unpooled map enters the "
        "next layer; with the earliest spike one event a window does; with max pooling a window may send several, "
        "and the net is no longer a single-spike net (and takes the slow dense path)."
    )
    return Table(
        "pooling",
        "Pooling: accuracy, violations of the single spike, operations.",
        raw,
        columns,
        note,
        rules(raw, "setup"),
    )
