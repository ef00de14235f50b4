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
class Cell:
    """One row of an experiment on one bench: the same run with every seed."""

    experiment: str
    bench: str
    label: str
    group: str
    value: float | str | None
    runs: tuple[Run, ...]
    large: bool = False


@dataclass(frozen=True)
class Bench:
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
    benches: dict[str, Bench]
    cells: tuple[Cell, ...]
    experiments: dict[str, dict[str, Any]] = field(repr=False)
    asked: dict[str, dict[str, Any]] = field(repr=False)

    def of(self, experiment: str) -> list[Cell]:
        """The cells of one experiment, in their printed order."""
        return [cell for cell in self.cells if cell.experiment == experiment]

    def title(self, bench: str) -> str:
        """What a bench is called in print."""
        return self.benches[bench].title


def load(name: str, folder: Path = HERE) -> Profile:
    """The profile `name` with all of its cells; ValueError that names the file for whatever is wrong in it."""
    path = folder / "profiles" / f"{name}.toml"
    try:
        source = _read(path)
        head = source.pop("profile")
        benches = {key: _bench(key, dict(value)) for key, value in source.pop("bench").items()}
        seeds = tuple(head["seeds"])
        cells: list[Cell] = []
        experiments: dict[str, dict[str, Any]] = {}
        for key, value in source.items():
            experiments[key] = _read(folder / "experiments" / f"{key}.toml")
            cells += _cells(key, experiments[key], value, benches, head.get("settings", {}), seeds)
    except (KeyError, ValueError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {reason}") from error
    return Profile(name, head["description"], seeds, benches, tuple(cells), experiments, source)


def runs(cells: Iterable[Cell]) -> list[Run]:
    """The different runs that the cells need, in order of first use."""
    return list(dict.fromkeys(run for cell in cells for run in cell.runs))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _bench(name: str, value: dict[str, Any]) -> Bench:
    return Bench(name, value.pop("title"), value.pop("large", False), value)


def _cells(
    name: str,
    experiment: dict[str, Any],
    asked: dict[str, Any],
    benches: dict[str, Bench],
    settings: dict[str, Any],
    seeds: tuple[int, ...],
) -> list[Cell]:
    """The rows of one experiment on each bench: profile, bench, experiment in the profile, row, `rows`; the later wins.

    `rows` has settings that the profile gives to single rows, by their labels; `leave_out` has the labels that a bench does
    without.
    """
    unknown = set(asked) - {"benches", "set", "values", "seeds", "reach", "rows", "leave_out"}
    if unknown:
        raise ValueError(f"[{name}] has the unknown entry {sorted(unknown)[0]!r}")
    own, left_out = asked.get("rows", {}), asked.get("leave_out", {})
    labels = {row["label"] for row in _rows(experiment, asked)}
    for entry, named in (("rows", set(own)), ("leave_out", {label for left in left_out.values() for label in left})):
        if named - labels:
            raise ValueError(f"[{name}.{entry}] has no row {sorted(named - labels)[0]!r}")
    if set(left_out) - set(asked["benches"]):
        raise ValueError(f"[{name}.leave_out] has no bench {sorted(set(left_out) - set(asked['benches']))[0]!r}")
    cells = []
    for bench in asked["benches"]:
        if bench not in benches:
            raise ValueError(f"[{name}] asks for the bench {bench!r}, which is not defined")
        for row in _rows(experiment, asked):
            if row["label"] in left_out.get(bench, ()):
                continue
            told = {**settings, **benches[bench].settings, **asked.get("set", {}), **row.get("set", {})}
            told |= own.get(row["label"], {})
            made = tuple(Run.of({**told, "seed": seed}) for seed in asked.get("seeds", seeds))
            group, value = row.get("group", ""), row.get("value")
            cells.append(Cell(name, bench, row["label"], group, value, made, benches[bench].large))
    return cells


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
