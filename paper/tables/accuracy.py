"""Accuracies: ours, those of the same nets with ReLU, and published ones."""

from typing import Any

import pandas as pd

from firstspike.report import Column
from firstspike.report.tables import MISSING, absent

from .. import published
from ..grid import Profile
from ..measures import frame
from ..records import Store
from .table import ACCURACY, BEST, DATASETS, SEEDS, Table, result, rules


def table1(profile: Profile, store: Store) -> Table:
    """Accuracy of every bench beside the published one and the same net with ReLU."""
    raw = frame(profile, store, "table1")
    twins = raw[raw["model"] == "relu"].set_index("setup")
    raw = raw[raw["model"] == "ttfs"].reset_index(drop=True)
    for name in ("accuracy", "accuracy_sd", "best", "best_sd", "seeds", "seeds_asked", "status"):
        raw[f"relu_{name}"] = raw["setup"].map(twins[name])
    figures = [published.of(dataset) for dataset in raw["dataset"]]
    raw["published"] = [figure.value if figure else None for figure in figures]
    raw["published_tag"] = [figure.tag if figure else None for figure in figures]
    raw["difference"] = raw["accuracy"] - pd.to_numeric(raw["published"])

    def twin(row: Any) -> str:
        if absent(row["relu_seeds"]):
            return MISSING
        return result("accuracy")(
            {name.removeprefix("relu_"): row[name] for name in row.index if name.startswith("relu_")}
        )

    columns = (
        Column("dataset", "data set", lambda row: DATASETS[row["dataset"]]),
        Column("net", "net"),
        Column("augmentation", "augmentation"),
        Column("dropout", "dropout", "{:g}"),
        Column("epochs", "epochs"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("relu_accuracy", "same net, ReLU, %", twin),
        Column("published", "ETTFS, published, %", "{:.2f}"),
        Column(
            "difference",
            "difference",
            lambda row: MISSING if absent(row["difference"]) else f"{row['difference']:+.2f}",
        ),
        Column("parameters", "parameters", "{:,.0f}"),
        Column("steps", "T"),
        Column("encoder", "encoder"),
        Column("readout", "readout"),
    )
    return Table(
        "table1",
        "Test accuracy: last epoch, mean ± sd over seeds, with the best epoch beside it, never instead of it.",
        raw,
        columns,
        "The published net is not known; a difference compares data sets, not nets. Dropout: the share of neurons that are "
        "silent for a fully connected layer in a training step, not those of the data. The net with ReLU has the same "
        "sizes, data, epochs, batches and dropout, a learning rate of its own (0.004), He initialisation, no normalisation. "
        "The ± is over seeds. The choice of the test images adds to it what no seed shows: an accuracy p on n images has the "
        "standard error sqrt(p (1 - p) / n), on 10,000 images 0.26 points at 92.9 % and 0.07 at 99.5 %.",
        rules(raw, "dataset"),
    )


def literature(profile: Profile, store: Store) -> Table:
    """Published accuracies, without those that nobody checked."""
    raw = published.table()
    columns = (
        Column("name", "method"),
        Column("year", "year"),
        Column("net", "net, T"),
        *(Column(name, DATASETS[name]) for name in published.DATASETS),
        Column("tag", "source"),
    )
    tags = "; ".join(f"{tag}: {text}" for tag, text in published.TAGS.items() if tag != "m")
    note = (
        f"Sources: {tags}. {published.withheld()} more methods are known to us from memory only, and are not printed."
    )
    return Table("published", "Published test accuracies, %.", raw, columns, note)
