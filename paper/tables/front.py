"""Tables of README.md: the best nets of each data set, and training steps with the accuracy that their T reaches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from benchmarks.records import RESULTS, load
from benchmarks.table_cells import ABSENT, faster, number, ratio
from benchmarks.workloads import workload_named
from tools.tables import DATASETS, Column, present

from firstspike.report import MISSING

from .. import published
from ..grid import Profile
from ..measures import frame
from ..records import Store
from .accuracy import TWD_METHOD, relu_result
from .accuracy import table1 as table1_of
from .table import ACCURACY, SEEDS
from .timing import accuracies

#: The processor of the speeds, and a second one.
MACHINE, OTHER = "zen4", "full"
#: T of the training steps that were timed, by kind of neurons and workload; README.md shows one T of each kind.
TIMED: dict[str, dict[str, tuple[int, ...]]] = {
    "windows": {"mlp": (2, 4, 8, 16, 64), "cnn": (2, 4, 8, 16, 64)},
    "step by step": {"mlp": (8, 16, 64), "cnn": (8, 16)},
}
SHOWN = {"windows": 16, "step by step": 8}


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
        Column("published", "the paper, %", _published),
    )
    return present(chosen, columns)


def _published(row: Any) -> str:
    figure = None if row["images"] else published.of(row["dataset"], TWD_METHOD)
    return MISSING if figure is None else f"{figure.value:.2f}"


def training_steps(profile: Profile, store: Store, rows: Sequence[tuple[str, str, int]], folder: Path = RESULTS) -> pd.DataFrame:
    """Milliseconds of a training step, SpikingJelly's at the same T, the speed-up, and the accuracy at this T.

    rows: kind of neurons, workload and T. Accuracies come from the experiment `time`.
    """
    lines = []
    for kind, work, steps in rows:
        section, ours = ("windowed", "windowed") if kind == "windows" else ("steps", "firstspike")
        times, others = (_times(folder / machine / f"{section}.json", work, steps) for machine in (MACHINE, OTHER))
        accuracy = accuracies(profile, store, f"fashion-{work}-time").set_index("T")[kind].get(str(steps), MISSING)
        lines.append(
            {
                "neurons": kind,
                "net": workload_named(work).spec,
                "T": steps,
                "ms": _median(times, ours),
                "ReLU, torch, ms": _median(times, "relu"),
                "SpikingJelly, ms": _median(times, faster(times, "spikingjelly")),
                "speed-up": ratio(times, faster(times, "spikingjelly"), ours),
                "on an Intel Xeon": ratio(others, "spikingjelly", ours),
                "Fashion-MNIST, %": accuracy,
            }
        )
    return pd.DataFrame(lines)


def timed_rows(all_steps: bool) -> list[tuple[str, str, int]]:
    """The rows of `training_steps`: of README.md, or with every T."""
    each = [(kind, work, steps) for kind, works in TIMED.items() for work, timed in works.items() for steps in timed]
    return [row for row in each if all_steps or row[2] == SHOWN[row[0]]]


def _times(path: Path, work: str, steps: int) -> dict[str, Any]:
    """The times of the training step on images."""
    for row in load(path):
        fits = row["work"] == work and row["steps"] == steps
        if fits and row.get("what", "training") == "training" and row.get("source", "fashion-mnist") == "fashion-mnist":
            return dict(row["times"])
    return {}


def _median(times: dict[str, Any], side: str) -> str:
    return number(times[side]["median"]) if side in times else ABSENT
