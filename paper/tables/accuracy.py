"""Table 1, and what others published."""

from typing import Any

import pandas as pd
from tools.tables import DATASETS, Column, absent

from firstspike.report import MISSING

from .. import published
from ..grid import Profile
from ..measures import frame
from ..records import Store
from .table import ACCURACY, BEST, SEEDS, Table, result, rules, spread

#: The method whose published figures stand beside a readout.
TWD_METHOD, MEMBRANE_METHOD = "ETTFS", "Parallel TTFS"
_OF_RELU = (
    "accuracy",
    "accuracy_sd",
    "best",
    "best_sd",
    "seconds",
    "seconds_sd",
    "seeds",
    "seeds_asked",
    "status",
    "commits",
)


def table1(profile: Profile, store: Store) -> Table:
    """Accuracy of every setup with both decoders, beside the published one and the same net with ReLU."""
    raw = frame(profile, store, "table1")
    relu = raw[raw["model"] == "relu"].set_index("setup")
    raw = raw[raw["model"] == "ttfs"]
    raw = pd.concat([part for _, part in raw.groupby("group", sort=False)], ignore_index=True)  # block by block
    for name in _OF_RELU:
        raw[f"relu_{name}"] = raw["setup"].map(relu[name])
    raw["published_method"] = [TWD_METHOD if str(readout).startswith("twd") else MEMBRANE_METHOD for readout in raw["readout"]]
    figures = [  # a copy of a data set is not the original, for which a figure was published
        None if images else published.of(dataset, method)
        for dataset, images, method in zip(raw["dataset"], raw["images"], raw["published_method"], strict=True)
    ]
    raw["published"] = [figure.value if figure else None for figure in figures]
    raw["published_tag"] = [figure.tag if figure else None for figure in figures]
    raw["difference"] = raw["accuracy"] - pd.to_numeric(raw["published"])
    columns = (
        Column("group", "decoder"),
        Column("dataset", "data set", _dataset),
        Column("net", "net"),
        Column("augmentation", "augmentation"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("relu_accuracy", "ReLU counterpart, %", relu_result),
        Column("published", "published, %", "{:.2f}"),
        Column("difference", "difference", _signed("difference")),
        Column("steps", "T"),
        Column("epochs", "epochs"),
        Column("dropout", "dropout", "{:g}"),
        Column("parameters", "parameters", "{:,.0f}"),
        Column("seconds", "seconds per run", spread("seconds", 0)),
        Column("relu_seconds", "ReLU, seconds", spread("relu_seconds", 0)),
        Column("threads", "threads"),
        Column("encoder", "encoder"),
        Column("commits", "commit", lambda row: row["commits"] or MISSING),
        Column("relu_commits", "ReLU, commit", _relu_commits),
    )
    return Table(
        "table1",
        "Test accuracy (Table 1 in README and notes): last epoch, mean ± sd over seeds, with the best epoch beside it.",
        raw,
        columns,
        f"Published: for temporal weighting {TWD_METHOD} (arXiv 2410.23619), for the membrane decoder the later paper of the "
        "same authors (AAAI 2026). ETTFS is a step-by-step method, the later one works layer by layer. Another paper of the "
        "group (PLIF) says that its accuracies are usually those of the best test epoch; whether these are is not known, so "
        "the best epoch stands beside the last. The published nets are not known; a difference compares data sets, not nets. "
        "A JPEG copy of a data set is not the original, for which a figure was published, so it has none. "
        "Dropout silences this share of each fully connected layer's inputs in a training step, but never those of the "
        "data. The ReLU counterpart has the same sizes, data, epochs, batches and dropout, a learning rate of its own "
        "(0.004; 0.05 with Muon), He initialisation, no normalisation. Seconds are of training and testing, on so many "
        "threads. "
        "The ± is over seeds. The choice of the test images adds to it what no seed shows: an accuracy p on n images has the "
        "standard error sqrt(p (1 - p) / n), on 10,000 images 0.26 points at 92.9 % and 0.07 at 99.5 %.",
        rules(raw, "group", "dataset"),
    )


def _dataset(row: Any) -> str:
    """The data set's name; a copy of it, such as CIFAR-10 as JPEG, has its setup's title."""
    return str(row["title"]) if row["images"] else DATASETS[row["dataset"]]


def relu_result(row: Any) -> str:
    if absent(row["relu_seeds"]):
        return MISSING
    return result("accuracy")({name.removeprefix("relu_"): row[name] for name in row.index if name.startswith("relu_")})


def _relu_commits(row: Any) -> str:
    return MISSING if absent(row["relu_commits"]) else str(row["relu_commits"]) or MISSING


def _signed(name: str) -> Any:
    return lambda row: MISSING if absent(row[name]) else f"{row[name]:+.2f}"


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
    note = f"Sources: {tags}. {published.withheld()} more methods are known to us from memory only, and are not printed."
    return Table("published", "Published test accuracies, %.", raw, columns, note)
