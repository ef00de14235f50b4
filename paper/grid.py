"""From TOML files to the grid: which runs an experiment needs, and what each of its rows is called."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .records import MissingReason, Store
from .runs import Run

HERE = Path(__file__).resolve().parent
PROFILES = ("smoke", "quick", "paper")
_ENTRIES = {"setups", "only", "set", "values", "seeds", "target_accuracy", "rows", "learning_rates"}


@dataclass(frozen=True)
class Condition:
    """One row of an experiment for one setup: the same run with every seed.

    trials: runs with different learning rates on images held out, one of which is taken over into `runs`
    (`choose_learning_rates`); empty where the rate is given.
    """

    experiment: str
    setup: str
    label: str
    group: str
    value: float | str | None
    runs: tuple[Run, ...]
    large: bool = False
    trials: tuple[Run, ...] = ()

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What tells it from the profile's other conditions."""
        return self.experiment, self.setup, self.group, self.label

    @property
    def needed(self) -> tuple[Run, ...]:
        """All runs of this row, the trials first."""
        return self.trials + self.runs


@dataclass(frozen=True)
class Setup:
    """A data set and a net with their settings, as the profile names them.

    large: run with `--large` only. superseded: a later setup is ahead of it; the report has it, README.md has not.
    rows: settings of single rows with this setup, by label. seeds: of its runs, in place of the profile's; empty for those.
    """

    name: str
    title: str
    large: bool
    superseded: bool
    rows: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
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
        """The conditions of one experiment, in their printed order."""
        return [condition for condition in self.conditions if condition.experiment == experiment]

    def title(self, setup: str) -> str:
        """What a setup is called in print."""
        return self.setups[setup].title


def load(name: str, folder: Path = HERE) -> Profile:
    """The profile `name` with all of its conditions; ValueError that names the file for whatever is wrong in it."""
    path = folder / "profiles" / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"--profile must be one of {', '.join(PROFILES)}, got {name!r}")
    try:
        source = _read(path)
        head = source.pop("profile")
        setups: dict[str, Setup] = {}
        for key, value in source.pop("setup").items():
            setups[key] = _setup(key, dict(value), setups)
        seeds = tuple(head["seeds"])
        conditions: list[Condition] = []
        experiments: dict[str, dict[str, Any]] = {}
        for key, value in source.items():
            experiments[key] = _read(folder / "experiments" / f"{key}.toml")
            conditions += _conditions(key, experiments[key], value, setups, head.get("settings", {}), seeds)
        for key, setup in setups.items():
            nobody = sorted(set(setup.rows) - {condition.label for condition in conditions if condition.setup == key})
            if nobody:
                raise ValueError(f"[setup.{key}.rows]: no experiment with this setup has a row {nobody[0]!r}")
    except (KeyError, OSError, ValueError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {reason}") from error
    return Profile(name, head["description"], seeds, setups, tuple(conditions), experiments, source)


def choose_learning_rates(profile: Profile, store: Store) -> Profile:
    """The profile in which each condition with trials has the learning rate of its best one on the images held out.

    Of equal accuracies the smaller rate is taken. A condition whose trials are not all there (`waits`) keeps the first.
    """
    conditions = []
    for condition in profile.conditions:
        records = [store.get(run) for run in condition.trials]
        found = [record for record in records if record is not None]
        if condition.trials and len(found) == len(records):
            best = max(found, key=lambda record: (record["results"]["validation"], -record["spec"]["lr"]))
            condition = replace(condition, runs=tuple(run.changed(lr=best["spec"]["lr"]) for run in condition.runs))
        conditions.append(condition)
    return replace(profile, conditions=tuple(conditions))


WAITS = MissingReason("not run: its learning rate is not chosen yet", "The trials of learning rates are run first.")


def waits(condition: Condition, store: Store) -> bool:
    """Whether the condition's learning rate is still to be chosen."""
    return any(store.get(run) is None for run in condition.trials)


def runs(conditions: Iterable[Condition]) -> list[Run]:
    """The different runs that the conditions need, in order of first use."""
    return list(dict.fromkeys(run for condition in conditions for run in condition.needed))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _setup(name: str, value: dict[str, Any], above: dict[str, Setup]) -> Setup:
    """A setup; `like` names one above it, of which it has whatever it does not say itself, but title and `superseded`."""
    base = Setup(name, "", False, False, {}, (), {})
    if "like" in value:
        like = value.pop("like")
        if like not in above:
            raise ValueError(f"[setup.{name}] must be like a setup above it, got {like!r}")
        base = above[like]
    large, superseded = value.pop("large", base.large), value.pop("superseded", False)
    rows, seeds = value.pop("rows", base.rows), tuple(value.pop("seeds", base.seeds))
    return Setup(name, value.pop("title"), large, superseded, rows, seeds, base.settings | value)


def _conditions(
    name: str,
    experiment: dict[str, Any],
    asked: dict[str, Any],
    setups: dict[str, Setup],
    settings: dict[str, Any],
    seeds: tuple[int, ...],
) -> list[Condition]:
    """The rows of one experiment for each setup.

    Settings come from the profile, the setup, the experiment in the profile (`set`), the row, and the profile's entry
    for this row (`rows`, by label), and the setup's entry for it; the later one wins.
    `learning_rates`: by setup, the `values` among which every row's rate is chosen, in place of any other `lr`, and what
    differs in the trials (`set`). A row with `pools = true` is there for nets with pools alone.
    `only`: by setup, the labels of the rows that are run; without it, all.
    """
    unknown = set(asked) - _ENTRIES
    if unknown:
        raise ValueError(f"[{name}] has the unknown entry {sorted(unknown)[0]!r}")
    own, rates, only = asked.get("rows", {}), asked.get("learning_rates", {}), asked.get("only", {})
    labels = {row["label"] for row in _rows(experiment, asked)}
    for entry, named in {"rows": own, **{f"only.{setup}": only[setup] for setup in only}}.items():
        if nobody := sorted(set(named) - labels):
            raise ValueError(f"[{name}.{entry}] has no row {nobody[0]!r}")
    for entry, named in {"only": only, "learning_rates": rates}.items():
        if nowhere := sorted(set(named) - set(asked["setups"])):
            raise ValueError(f"[{name}.{entry}] has no setup {nowhere[0]!r}")
    conditions = []
    for setup in asked["setups"]:
        if setup not in setups:
            raise ValueError(f"[{name}] asks for the setup {setup!r}, which is not defined")
        for row in _rows(experiment, asked):
            values = {**settings, **setups[setup].settings, **asked.get("set", {}), **row.get("set", {})}
            if row["label"] not in only.get(setup, labels) or (row.get("pools") and "P" not in values["spec"]):
                continue
            extra = own.get(row["label"], {}) | setups[setup].rows.get(row["label"], {})
            trials: tuple[Run, ...] = ()
            if setup in rates:
                values |= {field: value for field, value in extra.items() if field != "lr"}
                trials = _trials(values, rates[setup], f"[{name}.learning_rates.{setup}]")
                values["lr"] = trials[0].lr
            else:
                values |= extra
            made = tuple(Run.of({**values, "seed": seed}) for seed in setups[setup].seeds or asked.get("seeds", seeds))
            group, value = row.get("group", ""), row.get("value")
            conditions.append(Condition(name, setup, row["label"], group, value, made, setups[setup].large, trials))
    return conditions


def _trials(values: dict[str, Any], asked: dict[str, Any], place: str) -> tuple[Run, ...]:
    made = tuple(Run.of({**values, **asked.get("set", {}), "lr": rate}) for rate in asked["values"])
    if not made or not all(run.validation for run in made):
        raise ValueError(f"{place} must have values, and a set with `validation`: test images choose nothing")
    return made


def _rows(experiment: dict[str, Any], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows as the experiment lists them, or one for each value of its sweep; with both, each row for each value.

    Then a row's label is its group's, and a row with `swept = false` is there once.
    """
    sweep = experiment.get("sweep")
    if sweep is None:
        return list(experiment["row"])
    values = asked.get("values", sweep.get("values"))
    if not values:
        raise ValueError(f"the sweep over {sweep['field']!r} has no values")
    common, made = sweep.get("set", {}), []
    for row in experiment.get("row", [{}]):
        fixed = row.get("set", {})
        if not row.get("swept", True):
            made.append({"label": row["label"], "group": row["label"], "set": common | fixed})
            continue
        for value in values:
            label = sweep["label"].format(value)
            swept = {"value": value, "set": {**common, **fixed, sweep["field"]: value}}
            group = {"label": f"{row['label']}, {label}", "group": row["label"]} if row else {"label": label}
            made.append(group | swept)
    return made
