"""Published figures and where they come from; `published.toml` holds them."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

DATASETS = ("mnist", "fashion-mnist", "cifar10", "cifar100", "dvs-gesture")
TAGS = {"s": "read in a primary source", "2": "second-hand note", "i": "derived", "m": "from memory, not checked"}


@dataclass(frozen=True)
class Figure:
    """One published accuracy: its text, in per cent, and its tag."""

    text: str
    tag: str

    @property
    def value(self) -> float:
        """The accuracy in per cent; the upper end where a range was published."""
        return float(self.text.rpartition("-")[2])

    def __str__(self) -> str:
        return f"{self.text} [{self.tag}]"


@cache
def source() -> dict[str, Any]:
    """All of `published.toml`; ValueError where an entry has an unknown tag."""
    with (Path(__file__).resolve().parent / "published.toml").open("rb") as file:
        found = tomllib.load(file)
    for entry in [*found["method"], *found["yin_yang"], *found["claim"], found["claims"], found["table4"], found["energy"]]:
        if entry["tag"] not in TAGS:
            raise ValueError(f"published.toml: unknown tag {entry['tag']!r}; known are {', '.join(TAGS)}")
    return found


def of(dataset: str, method: str = "ETTFS") -> Figure | None:
    """What `method` published for `dataset`, or None."""
    for entry in source()["method"]:
        if entry["name"] == method and dataset in entry:
            return Figure(entry[dataset], entry["tag"])
    return None


def table() -> pd.DataFrame:
    """All published accuracies that may be printed: one row a method, one column a data set."""
    rows = [entry for entry in source()["method"] if entry["tag"] != "m"]
    columns = ["name", "year", "net", *DATASETS, "tag"]
    return pd.DataFrame([{name: row.get(name) for name in columns} for row in rows], columns=columns)


def yin_yang() -> str:
    """What was published for Yin-Yang, in one sentence, with the sources."""
    figures = [f"{each['name']} {each['accuracy']} % ({each['source']})" for each in source()["yin_yang"] if each["tag"] != "m"]
    return f"Published: {'; '.join(figures)}."


def withheld() -> int:
    """How many methods are not printed because their figures are from memory."""
    return sum(entry["tag"] == "m" for entry in source()["method"])
