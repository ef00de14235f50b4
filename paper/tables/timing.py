"""Accuracy against the number of steps T, for each way to use time."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pandas as pd
from tools.tables import Column, absent

from firstspike import energy
from firstspike.report import MISSING

from ..energies import SHORT
from ..energies import energies as energies_of
from ..grid import Condition, Profile
from ..intervals import Interval, paired
from ..job import COUNTED
from ..measures import CHIP, MEASURES, by_seed, frame, records, row, status
from ..records import Store
from .table import SEEDS, SETUP, Table, mean_and_sd, of_seeds, rules, spread

NAME = "time"


def timing(profile: Profile, store: Store) -> Table:
    """Accuracy, latency, spikes and energy of each kind of net and each T, beside the net's ReLU counterpart."""
    raw = frame(profile, store, NAME)
    raw["interval"], raw["difference"] = zip(*_intervals(profile, store), strict=True)
    columns = (
        SETUP,
        Column("group", "neurons"),
        Column("value", "T", "{:.0f}"),
        SEEDS,
        Column("interval", "test, last epoch, %", _accuracy),
        Column("difference", "difference to ReLU"),
        Column("latency", "latency, steps", "{:.0f}"),
        Column("spikes_per_neuron", "spikes per neuron", spread("spikes_per_neuron", 3)),
        Column("additions", "additions, 10³", spread("additions", 1, 1e-3)),
        Column("macs", "multiply-accumulates, 10³", spread("macs", 1, 1e-3)),
        Column("updates", "membrane updates, 10³", spread("updates", 1, 1e-3)),
        Column("chip_energy", "energy, nJ", spread("chip_energy", 0)),
        Column("commits", "commit", lambda each: each["commits"] or MISSING),
    )
    table = energy.load(CHIP)
    note = (
        "Accuracy: mean and 95 % interval over seeds, by Student's t; the difference is paired by seed. The ReLU counterpart of "
        "nets of windows has batch normalisation as they have, the one of step-by-step nets has none. Latency: T, as all layers "
        "share the steps, or layers that fire times T, counted from the end of the input's window of 255 steps. "
        f"Spikes per neuron are of all test images, operations of the first {COUNTED:,}, per image. Energy by the table {CHIP}: "
        f"{table.synaptic_operation_pj} pJ per addition, {table.mac_pj} pJ per multiply-accumulate, "
        f"{table.update_inactive_pj} pJ per membrane update; a neuron of windows is updated in the window of its "
        "input (255 steps for the first layer) and in that of its layer."
    )
    caption = "Accuracy against the number of steps T."
    return Table(NAME, caption, raw, columns, note, rules(raw, "setup", "group"))


def accuracies(profile: Profile, store: Store, setup: str) -> pd.DataFrame:
    """One row per T, one column per kind of net: mean and half of the 95 % interval over seeds, the difference to ReLU."""
    accuracy = MEASURES["accuracy"]
    cells: dict[str, dict[str, str]] = {}
    for group, line, condition, relu in _lines(profile, setup):
        values = by_seed(condition, store, accuracy)
        difference = None if condition is relu else paired(values, by_seed(relu, store, accuracy))
        cells.setdefault(group, {})[line] = _cell(condition, values, store, difference)
    return pd.DataFrame(cells).rename_axis("T").reset_index()


def costs(profile: Profile, store: Store, setup: str) -> pd.DataFrame:
    """One row per T and one of ReLU; latency, spikes per neuron and energy in microjoules per image of each kind of net."""
    cells: dict[str, dict[str, str]] = {}
    for group, line, condition, relu in _lines(profile, setup):
        found = row(condition, store, profile)
        shown = {
            "latency": spread("latency", 0)({**found, "latency_sd": math.nan}),
            "spikes per neuron": spread("spikes_per_neuron", 2)({**found, "spikes_per_neuron_sd": math.nan}),
            "energy, µJ": spread("chip_energy", 2, 1e-3)({**found, "chip_energy_sd": math.nan}),
        }
        if group == "windows":
            short = [] if condition is relu else [energies_of(each)["clocked, short"] for each in records(condition, store)]
            shown[f"energy with {SHORT} input steps, computed, µJ"] = _microjoules(short) if short else shown["energy, µJ"]
        for name, text in shown.items():
            cells.setdefault(f"{group}: {name}", {})[line] = text
    return pd.DataFrame(cells).rename_axis("T").reset_index()


#: Columns of `energies`: kind of net, what of `paper.energies`, their titles.
_ENERGIES = (
    ("windows", "relu", "ReLU, dense"),
    ("windows", "relu_nonzero", "ReLU that skips its zeros"),
    ("windows", "relu_bits", "ReLU of as many levels"),
    ("windows", "clocked", "windows: clocked"),
    ("windows", "neuron-by-neuron", "windows: neuron by neuron"),
    ("windows", "payload", "windows: payload"),
    ("step by step", "clocked", "step by step: clocked"),
    ("step by step, ramp", "clocked", "step by step, ramp: clocked"),
    ("windows", "relu_lemaire", "Lemaire 2022: ReLU, dense"),
    ("windows", "lemaire", "Lemaire 2022: windows"),
    ("step by step", "lemaire", "Lemaire 2022: step by step"),
    ("step by step, ramp", "lemaire", "Lemaire 2022: step by step, ramp"),
)


def energies(profile: Profile, store: Store, setup: str) -> pd.DataFrame:
    """One row per T: microjoules per image in every schedule and model, means over seeds; what no record holds is left out."""
    cells: dict[str, dict[str, str]] = {}
    for group, line, condition, relu in _lines(profile, setup):
        if condition is relu:
            continue
        found = [energies_of(record) for record in records(condition, store)]
        for kind, name, title in _ENERGIES:
            if kind == group:
                cells.setdefault(title, {})[line] = _microjoules([each[name] for each in found])
    titles = [title for _, _, title in _ENERGIES if any(text != MISSING for text in cells.get(title, {}).values())]
    return pd.DataFrame(cells)[titles].rename_axis("T").reset_index()


def _microjoules(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known) / 1e3:.2f}" if known else MISSING


def accurate_energies(profile: Profile, store: Store) -> pd.DataFrame:
    """One row per net of windows made for accuracy: microjoules per image in every schedule, beside ReLU."""
    names = {"clocked": "clocked", "neuron-by-neuron": "neuron by neuron", "payload": "payload"}
    names |= {"relu": "ReLU", "relu_bits": "ReLU of as many levels", "relu_nonzero": "ReLU that skips its zeros"}
    rows = []
    for condition in profile.of("windows"):
        found = [energies_of(record) for record in records(condition, store)] if condition.runs[0].model == "ttfs" else []
        if found:
            cells = {words: _microjoules([each[name] for each in found]) for name, words in names.items()}
            first = {"data set, net": profile.title(condition.setup), "steps of input": condition.runs[0].input_steps}
            rows.append(first | cells)
    return pd.DataFrame(rows)


def _lines(profile: Profile, setup: str) -> list[tuple[str, str, Condition, Condition]]:
    """Kind of net, T or "ReLU", condition and ReLU counterpart; each kind's counterpart after all its T."""
    swept = [each for each in profile.of(NAME) if each.setup == setup and each.value is not None]
    relu = counterparts(profile)
    lines = [(each.group, str(each.value), each, relu[setup, each.runs[0].timing]) for each in swept]
    return lines + [(group, "ReLU", other, other) for group, other in {each[0]: each[3] for each in lines}.items()]


def _cell(condition: Condition, values: dict[int, float], store: Store, difference: Interval | None = None) -> str:
    if not values:
        return status(condition, store)
    interval = Interval.of([*values.values()])
    text = mean_and_sd(interval.mean, math.nan if interval.half_width is None else interval.half_width)
    text += "" if difference is None else f" [{difference.mean:+.2f}]"
    return of_seeds(text, len(values), len(condition.runs))


def counterparts(profile: Profile) -> dict[tuple[str, str], Condition]:
    """The condition with ReLU by setup and `timing`."""
    found = [condition for condition in profile.of(NAME) if condition.runs[0].model == "relu"]
    return {(condition.setup, condition.runs[0].timing): condition for condition in found}


def _intervals(profile: Profile, store: Store) -> list[tuple[str | None, str]]:
    relu, accuracy = counterparts(profile), MEASURES["accuracy"]
    made = []
    for condition in profile.of(NAME):
        values = by_seed(condition, store, accuracy)
        other = by_seed(relu[condition.setup, condition.runs[0].timing], store, accuracy)
        difference = None if condition.runs[0].model == "relu" else paired(values, other)
        shown = Interval.of([*values.values()]).text(sign=False) if values else None
        made.append((shown, MISSING if difference is None else difference.text()))
    return made


def _accuracy(shown: Any) -> str:
    if absent(shown["interval"]):
        return str(shown["status"])
    return of_seeds(shown["interval"], shown["seeds"], shown["seeds_asked"])
