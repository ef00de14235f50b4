"""The table of README.md: the largest nets of each data set."""

from statistics import fmean
from typing import Any

import pandas as pd
from tools.tables import DATASETS, Column, present

from firstspike.report import MISSING

from .. import published
from ..energies import energies as energies_of
from ..grid import Condition, Profile
from ..measures import MEASURES, frame, records
from ..records import Store
from .accuracy import MEMBRANE_METHOD, TWD_METHOD, relu_result
from .accuracy import table1 as table1_of
from .table import ACCURACY


def best(profile: Profile, store: Store) -> pd.DataFrame:
    """For each data set and kind of net the largest that every seed was run of, and of its ReLU net; no accuracy chooses."""
    step = table1_of(profile, store).raw.assign(kind="step by step")
    step = step[step["readout"] == "membrane"]
    layered = frame(profile, store, "windows")
    relu = layered[layered["label"] == "ReLU, batch normalisation"].set_index("setup")
    windows = layered[layered["label"] == "windows"].assign(kind="windows")
    for name in [name.removeprefix("relu_") for name in map(str, step.columns) if name.startswith("relu_")]:
        windows[f"relu_{name}"] = windows["setup"].map(relu[name])
    rows = pd.concat([windows, step], ignore_index=True)
    whole = (rows["seeds"] == rows["seeds_asked"]) & (rows["relu_seeds"] == rows["relu_seeds_asked"])
    rows = rows[whole & (rows["dataset"] != "digits")]
    chosen = rows.loc[rows.groupby(["dataset", "kind"])["parameters"].idxmax()]
    order = {name: index for index, name in enumerate(DATASETS)}
    chosen = chosen.sort_values(["dataset", "kind"], key=lambda column: column.map(lambda value: order.get(value, value)))
    conditions = {(each.setup, each.label): each for name in ("windows", "table1") for each in profile.of(name)}
    spent = [_spent(conditions[key], store) for key in zip(chosen["setup"], chosen["label"], strict=True)]
    chosen = pd.concat([chosen, pd.DataFrame(spent, index=chosen.index)], axis=1)
    columns = (
        Column("dataset", "data set", lambda row: DATASETS[row["dataset"]] + (", JPEG copy" if row["images"] else "")),
        Column("kind", "neurons", lambda row: f"{row['kind']}, T = {row['steps']}"),
        Column("net", "net"),
        ACCURACY,
        Column("relu_accuracy", "same net, ReLU, %", relu_result),
        Column("published", "published, %", _published),
        Column("spikes_per_neuron", "spikes per neuron", "{:.2f}"),
        Column("answered", "steps", "{:.0f}"),
        Column("microjoules", "energy, µJ", "{:.3g}"),
        Column("relu_microjoules", "ReLU, dense, µJ", "{:.3g}"),
    )
    return present(chosen, columns)


def _spent(condition: Condition, store: Store) -> dict[str, float]:
    """Means over seeds: steps of an image with the input's window, and microjoules per image of the net and with ReLU."""
    found = records(condition, store)
    windowed = condition.runs[0].timing == "windowed"
    energies = [energies_of(record) for record in found]
    ours = [each["neuron-by-neuron" if windowed else "clocked"] or 0.0 for each in energies]
    latency = fmean(MEASURES["latency"](record) or 0.0 for record in found)
    return {
        "answered": latency + (condition.runs[0].input_steps if windowed else 0),
        "microjoules": fmean(ours) / 1e3,
        "relu_microjoules": fmean(each["relu"] or 0.0 for each in energies) / 1e3,
    }


def _published(row: Any) -> str:
    """The accuracies of ETTFS and of its authors' later paper; none for a copy of a data set."""
    figures = () if row["images"] else (published.of(row["dataset"], method) for method in (TWD_METHOD, MEMBRANE_METHOD))
    return "; ".join(f"{figure.value:.2f}" for figure in figures if figure) or MISSING
