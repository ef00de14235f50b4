"""From the records of a condition (one per seed) to the numbers of a table's row."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from firstspike import energy

from .grid import Condition, Profile, waits
from .published import source
from .records import Store
from .runs import Run

Record = dict[str, Any]
#: The package's table of energies that all kinds of nets are compared by.
CHIP = "45nm-integer"


def _value(*path: str) -> Callable[[Record], float | None]:
    """A number of a record's results by its path; None where a part of it is missing."""

    def get(record: Record) -> float | None:
        found: Any = record["results"]
        for name in path:
            found = (found or {}).get(name)
        number: float | None = found
        return number

    return get


def _energy(record: Record) -> float:
    """Energy per sample of the synaptic work in nanojoules: additions and multiply-accumulates."""
    constants, counted = source()["energy"], record["results"]["operations"]
    return float(constants["add"] * counted["additions"] + constants["mac"] * counted["macs"]) / 1e3


def _chip_energy(record: Record) -> float:
    """Nanojoules per sample with integers: synapses, and membrane updates with their memory."""
    table, counted = energy.load(CHIP), record["results"]["operations"]
    spent = table.synaptic_operation_pj * counted["additions"] + (table.mac_pj or 0) * counted["macs"]
    return float(spent + (table.update_inactive_pj or 0) * counted["updates"]) / 1e3


def _latency(record: Record) -> float | None:
    """Steps from the input to scores that no longer change, whatever the sample: T, or all windows of layers that fire."""
    spec = record["spec"]
    if spec["model"] == "relu":
        return None
    return MEASURES["decision_mean"](record) if spec.get("timing") == "windowed" else float(spec["steps"])


def _update_energy(record: Record) -> float:
    return float(source()["energy"]["add"] * record["results"]["operations"]["updates"]) / 1e3


#: What is taken from one record. Accuracies and shares in per cent, decisions in steps, counted from 1.
MEASURES: dict[str, Callable[[Record], float | None]] = {
    "accuracy": _value("test", "accuracy"),
    "best": _value("best", "accuracy"),
    "best_epoch": _value("best", "epoch"),
    "validation": _value("validation"),
    "train": lambda record: record["results"]["curve"]["train_accuracy"][-1],
    "parameters": _value("parameters"),
    "decision_mean": _value("test", "decision", "mean"),
    "decision_median": _value("test", "decision", "median"),
    "decision_p95": _value("test", "decision", "p95"),
    "ties": _value("test", "ties"),
    "silent": _value("test", "silent"),
    "spikes_per_neuron": _value("test", "spikes_per_neuron"),
    "repeated": _value("test", "repeated"),
    "additions": _value("operations", "additions"),
    "macs": _value("operations", "macs"),
    "updates": _value("operations", "updates"),
    "energy": _energy,
    "update_energy": _update_energy,
    "chip_energy": _chip_energy,
    "latency": _latency,
    "epoch_seconds": lambda record: fmean(record["timing"]["epochs"]),
    "seconds": lambda record: record["timing"]["seconds"],
    "peak_mb": lambda record: record["timing"]["peak_mb"],
}


def learning_curve(record: Record) -> tuple[str, list[float]]:
    """Accuracy after each epoch in per cent, and on what: "validation" where images were held out, else "test"."""
    curve = record["results"]["curve"]
    name = "test" if None in curve["validation_accuracy"] else "validation"
    return name, curve[f"{name}_accuracy"]


def frame(
    profile: Profile, store: Store, experiment: str, measures: Mapping[str, Callable[[Record], float | None]] = MEASURES
) -> pd.DataFrame:
    """One row per condition of the experiment: what it is, mean and sd over seeds of each measure, why it is missing."""
    rows = [row(condition, store, profile, measures) for condition in profile.of(experiment)]
    return pd.DataFrame(rows)


def records(condition: Condition, store: Store) -> list[Record]:
    """The records that a condition has, in the order of its seeds."""
    return [record for run in condition.runs if (record := store.get(run)) is not None]


def by_seed(condition: Condition, store: Store, measure: Callable[[Record], float | None]) -> dict[int, float]:
    """A measure of each record of a condition, by seed; records without it are left out."""
    found = {record["spec"]["seed"]: measure(record) for record in records(condition, store)}
    return {seed: value for seed, value in found.items() if value is not None}


def row(
    condition: Condition, store: Store, profile: Profile, measures: Mapping[str, Callable[[Record], float | None]] = MEASURES
) -> dict[str, Any]:
    """The row of one condition. `seeds` counts its records; `status` is the reason where some are missing, else ""."""
    run = condition.runs[0]
    found = records(condition, store)
    made = {
        "setup": condition.setup,
        "title": profile.title(condition.setup),
        "dataset": run.data,
        "images": run.images,
        "net": run.spec,
        "model": run.model,
        "group": condition.group,
        "label": condition.label,
        "value": condition.value,
        "steps": run.steps,
        "encoder": run.encoder,
        "readout": run.readout,
        "gamma": run.gamma,
        "epochs": run.epochs,
        "threads": run.cores,
        "augmentation": augmentation(run),
        "dropout": run.dropout,
        "lr": math.nan if waits(condition, store) else run.lr,
        "train_images": found[0]["results"]["images"]["train"] if found else None,
        "seeds": len(found),
        "seeds_asked": len(condition.runs),
        "status": status(condition, store),
        "commits": commits(found),
    }
    for name, measure in measures.items():
        values = [value for record in found if (value := measure(record)) is not None]
        made[name], made[f"{name}_sd"] = mean_and_sd(values)
    return made


def commits(found: Sequence[Record]) -> str:
    """The commits that records come from, seven digits of each, in the order of seeds: "0123abc, 4567def".

    A run that was resumed has the commits of all its sessions.
    """
    names: list[str] = []
    for record in found:
        provenance = record["provenance"]
        names += [session["commit"] for session in provenance.get("sessions", ()) if session["commit"]]
        names.append(provenance["commit"] or "not in git")
    short = [name[:7] + ("-dirty" if name.endswith("-dirty") else "") if name[:7].isalnum() else name for name in names]
    return ", ".join(dict.fromkeys(short))


def augmentation(run: Run) -> str:
    """What is done to the training images, in words: "shift 2, flip", or "none"."""
    asked = run.augmentation
    words = [
        f"shift {asked.shift}" + (" with reflected borders" if asked.border == "reflect" else "") if asked.shift else "",
        "alternating flip" if asked.flip == "alternating" else "flip" if asked.flip else "",
        f"erase {asked.erase:g}" if asked.erase else "",
    ]
    return ", ".join(word for word in words if word) or "none"


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation over seeds; NaN where there are too few values."""
    return fmean(values) if values else math.nan, stdev(values) if len(values) > 1 else math.nan


def status(condition: Condition, store: Store) -> str:
    """ "" where every seed has its record, else "not run: no data" or the like; the first reason counts."""
    return next((store.missing_reason(run).reason for run in condition.runs if store.get(run) is None), "")
