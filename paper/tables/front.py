"""The table of README.md: the best nets of each data set."""

from typing import Any

import pandas as pd
from tools.tables import DATASETS, Column, present

from firstspike.report import MISSING

from .. import published
from ..grid import Profile
from ..measures import frame
from ..records import Store
from .accuracy import MEMBRANE_METHOD, TWD_METHOD, relu_result
from .accuracy import table1 as table1_of
from .table import ACCURACY, SEEDS


def best(profile: Profile, store: Store) -> pd.DataFrame:
    """For each data set and kind of net the row of the highest accuracy, of those whose ReLU counterpart was run as well."""
    step = table1_of(profile, store).raw.assign(kind="step by step")
    layered = pd.concat([frame(profile, store, name) for name in ("windows", "time")])
    relu = layered[layered["label"] == "ReLU, batch normalisation"].drop_duplicates("setup").set_index("setup")
    windows = layered[layered["label"].str.startswith("windows")].assign(kind="windows")
    for name in [name.removeprefix("relu_") for name in map(str, step.columns) if name.startswith("relu_")]:
        windows[f"relu_{name}"] = windows["setup"].map(relu[name])
    rows = pd.concat([windows, step], ignore_index=True)
    rows = rows[(rows["seeds"] > 0) & (rows["relu_seeds"] > 0) & (rows["dataset"] != "digits")]
    chosen = rows.loc[rows.groupby(["dataset", "kind"])["accuracy"].idxmax()]
    order = {name: index for index, name in enumerate(DATASETS)}
    chosen = chosen.sort_values(["dataset", "kind"], key=lambda column: column.map(lambda value: order.get(value, value)))
    columns = (
        Column("dataset", "data set", lambda row: DATASETS[row["dataset"]] + (", JPEG copy" if row["images"] else "")),
        Column("kind", "neurons"),
        Column("net", "net"),
        Column("steps", "T"),
        SEEDS,
        ACCURACY,
        Column("relu_accuracy", "same net, ReLU, %", relu_result),
        Column("published", "published, %", _published),
    )
    return present(chosen, columns)


def _published(row: Any) -> str:
    """The accuracies of ETTFS and of its authors' later paper; none for a copy of a data set."""
    figures = () if row["images"] else (published.of(row["dataset"], method) for method in (TWD_METHOD, MEMBRANE_METHOD))
    return "; ".join(f"{figure.value:.2f}" for figure in figures if figure) or MISSING
