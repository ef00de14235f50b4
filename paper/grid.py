"""From TOML files to the grid: which runs an experiment needs, and what each of its rows is called."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .runs import Run

HERE = Path(__file__).resolve().parent
PROFILES = ("smoke", "quick", "paper")


@dataclass(frozen=True)
class Condition:
    """One row of an experiment on one bench: the same run with every seed."""

    experiment: str
    setup: str
    label: str
    group: str
    value: float | str | None
    runs: tuple[Run, ...]
    large: bool = False


@dataclass(frozen=True)
class Setup:
    """A data set and a net with their settings, as the profile names them."""

    name: str
    title: str
    large: bool
    settings: dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """A profile: what is run, with which settings and seeds."""

    name: str
    description: str
    seeds: tuple[int, ...]
    setups: dict[str, Setup]
    conditions: tuple[Condition, ...]
    experiments: dict[str, dict[str, Any]] = field(repr=False)
    asked: dict[str, dict[str, Any]] = field(repr=False)

    def of(self, experiment: str) -> list[Condition]:
        """The cells of one experiment, in their printed order."""
        return [condition for condition in self.conditions if condition.experiment == experiment]

    def title(self, setup: str) -> str:
        """What a bench is called in print."""
        return self.setups[setup].title


def load(name: str, folder: Path = HERE) -> Profile:
    """The profile `name` with all of its cells; ValueError that names the file for whatever is wrong in it."""
    path = folder / "profiles" / f"{name}.toml"
    try:
        source = _read(path)
        head = source.pop("profile")
        setups = {key: _setup(key, dict(value)) for key, value in source.pop("setup").items()}
        seeds = tuple(head["seeds"])
        conditions: list[Condition] = []
        experiments: dict[str, dict[str, Any]] = {}
        for key, value in source.items():
            experiments[key] = _read(folder / "experiments" / f"{key}.toml")
            conditions += _conditions(key, experiments[key], value, setups, head.get("settings", {}), seeds)
    except (KeyError, ValueError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {reason}") from error
    return Profile(name, head["description"], seeds, setups, tuple(conditions), experiments, source)


def runs(conditions: Iterable[Condition]) -> list[Run]:
    """The different runs that the cells need, in order of first use."""
    return list(dict.fromkeys(run for condition in conditions for run in condition.runs))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _setup(name: str, value: dict[str, Any]) -> Setup:
    return Setup(name, value.pop("title"), value.pop("large", False), value)


def _conditions(
    name: str,
    experiment: dict[str, Any],
    asked: dict[str, Any],
    setups: dict[str, Setup],
    settings: dict[str, Any],
    seeds: tuple[int, ...],
) -> list[Condition]:
    """The rows of one experiment on each bench: profile, bench, experiment in the profile, row, `rows`; the later wins.

    `rows` has settings that the profile gives to single rows, by their labels; `leave_out` has the labels that a bench does
    without.
    """
    unknown = set(asked) - {"setups", "set", "values", "seeds", "target_accuracy", "rows", "leave_out"}
    if unknown:
        raise ValueError(f"[{name}] has the unknown entry {sorted(unknown)[0]!r}")
    own, left_out = asked.get("rows", {}), asked.get("leave_out", {})
    labels = {row["label"] for row in _rows(experiment, asked)}
    for entry, named in (("rows", set(own)), ("leave_out", {label for left in left_out.values() for label in left})):
        if named - labels:
            raise ValueError(f"[{name}.{entry}] has no row {sorted(named - labels)[0]!r}")
    if set(left_out) - set(asked["setups"]):
        raise ValueError(f"[{name}.leave_out] has no setup {sorted(set(left_out) - set(asked['setups']))[0]!r}")
    conditions = []
    for setup in asked["setups"]:
        if setup not in setups:
            raise ValueError(f"[{name}] asks for the setup {setup!r}, which is not defined")
        for row in _rows(experiment, asked):
            if row["label"] in left_out.get(setup, ()):
                continue
            told = {**settings, **setups[setup].settings, **asked.get("set", {}), **row.get("set", {})}
            told |= own.get(row["label"], {})
            made = tuple(Run.of({**told, "seed": seed}) for seed in asked.get("seeds", seeds))
            group, value = row.get("group", ""), row.get("value")
            conditions.append(Condition(name, setup, row["label"], group, value, made, setups[setup].large))
    return conditions


def _rows(experiment: dict[str, Any], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows as the experiment lists them, or one for each value of its sweep."""
    sweep = experiment.get("sweep")
    if sweep is None:
        return list(experiment["row"])
    values = asked.get("values", sweep.get("values"))
    if not values:
        raise ValueError(f"the sweep over {sweep['field']!r} has no values")
    common = sweep.get("set", {})
    return [
        {"label": sweep["label"].format(value), "value": value, "set": {**common, sweep["field"]: value}}
        for value in values
    ]
