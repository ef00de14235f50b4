"""What a table is, and the columns that many tables have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tools.tables import Column, absent, present

from firstspike.report import MISSING

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


def mean_and_sd(mean: float, sd: float, digits: int = 2) -> str:
    """Mean ± sd; the mean alone where there is no sd, as for one seed."""
    return f"{mean:,.{digits}f}" if absent(sd) else f"{mean:,.{digits}f} ± {sd:,.{digits}f}"


def of_seeds(text: str, found: int, asked: int) -> str:
    """A cell's text, with the number of seeds that are there where it is not that of those asked for."""
    return text if found == asked else f"{text} ({found} of {asked} seeds)"


def spread(name: str, digits: int = 2, scale: float = 1.0) -> Callable[[Any], str]:
    """A form that prints mean ± sd over seeds; the mean alone for one seed; the status where nothing was run."""

    def form(row: Any) -> str:
        if absent(row[name]):
            return MISSING
        return mean_and_sd(row[name] * scale, row[f"{name}_sd"] * scale, digits)

    return form


def result(name: str, digits: int = 2, scale: float = 1.0) -> Callable[[Any], str]:
    """`spread` for a row's main number: where it is missing, the reason stands in its place."""
    shown = spread(name, digits, scale)

    def form(row: Any) -> str:
        if row["seeds"] < row["seeds_asked"] and row["seeds"]:
            return of_seeds(shown(row), row["seeds"], row["seeds_asked"])
        return row["status"] or shown(row)

    return form


def rules(raw: pd.DataFrame, *names: str) -> tuple[int, ...]:
    """The rows whose values in `names` differ from the row above."""
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
TIES = Column("ties", "ties, %", spread("ties", 1))
SILENT = Column("silent", "silent, %", spread("silent", 2))
SETUP = Column("title", "data set, net")
SEEDS = Column("seeds", "seeds")
