"""The tables: pure functions of a profile's cells and the records. They train nothing; a cell that was not run says why."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from firstspike.report import Column, present
from firstspike.report.tables import MISSING, absent

from . import published
from .grid import Profile
from .measures import frame
from .records import Store

#: What a data set is called in print.
DATASETS = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "dvs-gesture": "DVS Gesture",
}


_GROUPING = ("title", "group")


@dataclass(frozen=True)
class Table:
    """A table: its raw numbers, what is printed of them, and the rows that begin a group."""

    name: str
    caption: str
    raw: pd.DataFrame
    columns: tuple[Column, ...]
    note: str = ""
    rules: tuple[int, ...] = ()

    @property
    def shown(self) -> pd.DataFrame:
        """The printed table; what only repeats the group of the row above is left out."""
        shown = present(self.raw, self.columns)
        same = pd.Series(True, index=shown.index)
        for column in [column for column in self.columns if column.name in _GROUPING]:
            same &= shown[column.title].eq(shown[column.title].shift())
            shown[column.title] = shown[column.title].mask(same, "")
        return shown


def spread(name: str, digits: int = 2, scale: float = 1.0) -> Callable[[Any], str]:
    """A form that prints mean ± sd over seeds; the mean alone for one seed; the status where nothing was run."""

    def form(row: Any) -> str:
        if absent(row[name]):
            return MISSING
        mean, sd = row[name] * scale, row[f"{name}_sd"] * scale
        return f"{mean:,.{digits}f}" if absent(sd) else f"{mean:,.{digits}f} ± {sd:,.{digits}f}"

    return form


def result(name: str, digits: int = 2) -> Callable[[Any], str]:
    """`spread` for a row's main number: where it is missing, the reason stands in its place."""

    def form(row: Any) -> str:
        if row["seeds"] < row["seeds_asked"] and row["seeds"]:
            return f"{spread(name, digits)(row)} ({row['seeds']} of {row['seeds_asked']} seeds)"
        return row["status"] or spread(name, digits)(row)

    return form


def _share(name: str, digits: int = 1) -> Column:
    return Column(name, "", spread(name, digits))


def _titled(column: Column, title: str) -> Column:
    return Column(column.name, title, column.form)


def rules(raw: pd.DataFrame, *names: str) -> tuple[int, ...]:
    """The rows whose values in `names` differ from those of the row above."""
    keys = list(raw[list(names)].itertuples(index=False, name=None))
    return tuple(number for number in range(1, len(keys)) if keys[number] != keys[number - 1])


ACCURACY = Column("accuracy", "test, last epoch, %", result("accuracy"))
BEST = Column("best", "best epoch, %", spread("best"))
VALIDATION = Column("validation", "validation, %", spread("validation"))
DECISION = (
    Column("decision_mean", "steps, mean", spread("decision_mean")),
    Column("decision_median", "median", spread("decision_median", 0)),
    Column("decision_p95", "95 %", spread("decision_p95", 0)),
)
TIES = _titled(_share("ties"), "ties, %")
SILENT = _titled(_share("silent", 2), "silent, %")
BENCH = Column("title", "bench")
SEEDS = Column("seeds", "seeds")


def table1(profile: Profile, store: Store) -> Table:
    """Accuracy of every bench beside the published one and the same net with ReLU."""
    raw = frame(profile, store, "table1")
    twins = raw[raw["model"] == "relu"].set_index("bench")
    raw = raw[raw["model"] == "ttfs"].reset_index(drop=True)
    for name in ("accuracy", "accuracy_sd", "best", "best_sd", "seeds", "seeds_asked", "status"):
        raw[f"relu_{name}"] = raw["bench"].map(twins[name])
    figures = [published.of(dataset) for dataset in raw["dataset"]]
    raw["published"] = [figure.value if figure else None for figure in figures]
    raw["published_tag"] = [figure.tag if figure else None for figure in figures]
    raw["difference"] = raw["accuracy"] - pd.to_numeric(raw["published"])

    def twin(row: Any) -> str:
        if absent(row["relu_seeds"]):
            return MISSING
        return result("accuracy")({name.removeprefix("relu_"): row[name] for name in row.index if name.startswith("relu_")})

    columns = (
        Column("dataset", "data set", lambda row: DATASETS[row["dataset"]]),
        Column("net", "net"),
        Column("parameters", "parameters", "{:,.0f}"),
        Column("steps", "T"),
        Column("encoder", "encoder"),
        Column("readout", "readout"),
        Column("epochs", "epochs"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("relu_accuracy", "same net, ReLU, %", twin),
        Column("published", "ETTFS, published, %", "{:.2f}"),
        Column("difference", "difference", lambda row: MISSING if absent(row["difference"]) else f"{row['difference']:+.2f}"),
    )
    return Table(
        "table1",
        "Test accuracy: last epoch, mean ± sd over seeds, with the best epoch beside it, never instead of it.",
        raw,
        columns,
        "The published net is not known; a difference compares data sets, not nets. The net with ReLU has the same sizes, the same "
        "data, epochs, batches and learning rate; no weight normalisation, He initialisation.",
        rules(raw, "dataset"),
    )


def table4(profile: Profile, store: Store) -> Table:
    """The ablation."""
    raw = frame(profile, store, "table4")
    columns = [
        Column("group", ""),
        Column("label", "components"),
        SEEDS,
        ACCURACY,
        BEST,
        DECISION[0],
        SILENT,
        Column("repeated", "pooled units that fire twice or more, %", spread("repeated", 1)),
    ]
    ours = published.source()["table4"]
    if raw["bench"].nunique() > 1:
        columns.insert(0, BENCH)
    return Table(
        "table4",
        "Ablation (the paper's Table 4): five components added one after the other, and each one left out of the whole.",
        raw,
        tuple(columns),
        f"Published for Fashion-MNIST: {ours['none']:.2f} % with none of the five, {ours['all']:.2f} % with all [{ours['tag']}]; "
        "the rows between are not known to us. "
        "In place of the components: He initialisation, max pooling, no normalisation, no affine and no bias, first-spike decoder.",
        rules(raw, "bench", "group"),
    )


def pooling(profile: Profile, store: Store) -> Table:
    """Average, max and earliest pooling."""
    raw = frame(profile, store, "pooling")
    columns = (
        BENCH,
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
        "Additions are events times their fan-out. With average pooling every event of the unpooled map enters the next layer; with "
        "the earliest spike one event a window does; with max pooling a window may send several, and the net is no longer a "
        "single-spike net (and takes the slow dense path)."
    )
    return Table("pooling", "Pooling: accuracy, violations of the single spike, operations.", raw, columns, note, rules(raw, "bench"))


def decoder(profile: Profile, store: Store) -> Table:
    """Decoders: accuracy and steps to decision."""
    raw = frame(profile, store, "decoder")
    columns = (BENCH, Column("label", "decoder"), Column("steps", "T"), SEEDS, ACCURACY, BEST, *DECISION, TIES, SILENT)
    note = (
        "Steps to decision: with TWD and first spike, the step of the first output spike, counted from 1; T where no output "
        "fires. A membrane decides only after all T steps; for it the table has the step from which on the answer no longer "
        "changes, which is known only afterwards. Ties: samples whose first output step has spikes of several classes. Silent: "
        "samples without an output spike."
    )
    return Table("decoder", "Decoders, each trained with its own readout.", raw, columns, note, rules(raw, "bench"))


def sweep(name: str, caption: str, extra: tuple[Column, ...], note: str = "") -> Callable[[Profile, Store], Table]:
    """A table for a sweep over one setting."""

    def make(profile: Profile, store: Store) -> Table:
        raw = frame(profile, store, name)
        columns = (BENCH, Column("label", "setting"), SEEDS, VALIDATION, ACCURACY, *extra)
        return Table(name, caption, raw, columns, note, rules(raw, "bench"))

    return make


def energy(profile: Profile, store: Store) -> Table:
    """Spikes, additions and energy of the nets of Table 1 beside their twins with ReLU."""
    raw = frame(profile, store, "table1")
    constants = published.source()["energy"]
    columns = (
        BENCH,
        Column("label", "neurons"),
        Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3)),
        Column("additions", "additions, 10³", lambda row: row["status"] or spread("additions", 1, 1e-3)(row)),
        Column("macs", "multiply-accumulates, 10³", spread("macs", 1, 1e-3)),
        Column("energy", "synapses, nJ", spread("energy", 1)),
        Column("updates", "membrane updates, 10³", spread("updates", 1, 1e-3)),
        Column("update_energy", "updates, nJ", spread("update_energy", 1)),
    )
    note = (
        f"Energy of arithmetic alone: {constants['add']} pJ an addition, {constants['mac']} pJ a multiply-accumulate "
        f"({constants['name']}) [{constants['tag']}]. It leaves out memory, which costs more than the arithmetic on real hardware, "
        "so it compares counts and predicts no chip. Direct coding multiplies in the first layer, once a sample. Membrane updates "
        "(neurons times T, an addition each) are what a chip with a clock pays; an event-driven one does not."
    )
    return Table("energy", "Work and arithmetic energy a sample.", raw, columns, note, rules(raw, "bench"))


def speed(profile: Profile, store: Store) -> Table:
    """How fast and how evenly each initialisation learns."""
    reach = float(profile.asked["figure1"].get("reach", 0))
    raw = frame(profile, store, "figure1")
    for name in ("reached", "reached_sd", "reached_seconds", "reached_seconds_sd"):
        raw[name] = math.nan
    for number, cell in enumerate(profile.of("figure1")):
        found = [record for run in cell.runs if (record := store.get(run)) is not None]
        epochs = [first_to_reach(record, reach) for record in found]
        if found and all(epoch is not None for epoch in epochs):
            seconds = [sum(record["timing"]["epochs"][:epoch]) for record, epoch in zip(found, epochs, strict=True)]
            for name, values in (("reached", epochs), ("reached_seconds", seconds)):
                raw.loc[number, name] = fmean(values)  # type: ignore[arg-type]
                raw.loc[number, f"{name}_sd"] = stdev(values) if len(values) > 1 else math.nan  # type: ignore[arg-type]
    columns = (
        BENCH,
        Column("group", ""),
        Column("label", "initialisation"),
        SEEDS,
        ACCURACY,
        BEST,
        Column("reached", f"epochs to {reach:g} %", spread("reached", 1)),
        Column("reached_seconds", "seconds", spread("reached_seconds", 1)),
    )
    note = f"The first epoch whose test accuracy is at least {reach:g} %, in every seed; a dash where a seed does not get there."
    return Table("speed", "Training speed and stability of each initialisation.", raw, columns, note, rules(raw, "bench", "group"))


def first_to_reach(record: dict[str, Any], accuracy: float) -> int | None:
    """The first epoch, from 1, with at least this test accuracy in per cent; None where none has it."""
    for epoch, value in enumerate(record["results"]["curve"]["test_accuracy"], 1):
        if value is not None and value >= accuracy:
            return epoch
    return None


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


_SPIKES = Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3))
_CHOSEN = "The best setting is chosen by the validation column; where it is empty nothing was held out and nothing chosen."

#: Every table, in the order of the report; those whose experiment a profile does not have are left out.
TABLES: dict[str, tuple[str, Callable[[Profile, Store], Table]]] = {
    "table1": ("table1", table1),
    "published": ("table1", literature),
    "table4": ("table4", table4),
    "speed": ("figure1", speed),
    "pooling": ("pooling", pooling),
    "decoder": ("decoder", decoder),
    "gamma": (
        "gamma",
        sweep("gamma", "Temporal weighting with w[t] = γ^-t: the base γ.", (*DECISION, TIES, SILENT), _CHOSEN),
    ),
    "steps": (
        "steps",
        sweep(
            "steps",
            "The number of steps T.",
            (*DECISION, _SPIKES, Column("epoch_seconds", "seconds an epoch", spread("epoch_seconds", 1))),
            _CHOSEN,
        ),
    ),
    "encoder": ("encoder", sweep("encoder", "The encoder of the input.", (*DECISION, _SPIKES), _CHOSEN)),
    "energy": ("table1", energy),
}


def tables(profile: Profile, store: Store, only: set[str] | None = None) -> list[Table]:
    """The tables that the profile has experiments for, or those of them in `only`."""
    return [
        make(profile, store)
        for name, (experiment, make) in TABLES.items()
        if experiment in profile.experiments and (only is None or name in only or experiment in only)
    ]
