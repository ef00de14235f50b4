"""Tables as CSV, Markdown and LaTeX. Numbers stay numbers in the CSV; the others print what `present` made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from firstspike.report import MISSING, numeric

#: What a data set is called in print.
DATASETS = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "dvs-gesture": "DVS Gesture",
    "yin-yang": "Yin-Yang",
}
_ESCAPED = r"\&%$#_{}~^±×≥≤−–γ√✓→·"
_ESCAPES = (
    r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} $\pm$ $\times$ $\ge$ $\le$ $-$ -- "
    r"$\gamma$ $\surd$ $\checkmark$ $\to$ $\cdot$"
)
_LATEX = str.maketrans(dict(zip(_ESCAPED, _ESCAPES.split(), strict=True)))


@dataclass(frozen=True)
class Column:
    """One printed column: its name in the frame, its title, and a format string for a value or a function of the whole row."""

    name: str
    title: str
    form: str | Callable[[Any], str] = "{}"

    def cell(self, row: Any) -> str:
        """The text for this row; a missing value (None, NaN) prints as a dash."""
        if callable(self.form):
            return self.form(row)
        value = row[self.name]
        return MISSING if absent(value) else self.form.format(value)


def absent(value: Any) -> bool:
    """True if a value is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


def present(frame: pd.DataFrame, columns: Iterable[Column]) -> pd.DataFrame:
    """The printed table: one column of text for each of `columns`, in their order."""
    columns = list(columns)
    # As objects: a row of numbers alone would make floats of the whole ones.
    rows = [[column.cell(row) for column in columns] for _, row in frame.astype(object).iterrows()]
    return pd.DataFrame(rows, columns=[column.title for column in columns], dtype=object)


def csv(frame: pd.DataFrame) -> str:
    """CSV with full numbers and `\\n` line ends."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table (pipes), number columns flush right."""
    titles = [str(title) for title in frame.columns]
    marks = ["---:" if numeric(frame.iloc[:, index]) else ":---" for index in range(len(titles))]
    lines = [_pipes(titles), _pipes(marks)]
    lines += [_pipes([str(cell) for cell in row]) for row in frame.itertuples(index=False, name=None)]
    return "\n".join(lines) + "\n"


def latex(frame: pd.DataFrame, caption: str = "", label: str = "") -> str:
    """A LaTeX table (needs the package booktabs)."""
    align = "".join("r" if numeric(frame.iloc[:, index]) else "l" for index in range(len(frame.columns)))
    escaped = frame.astype(str).map(latex_text).rename(columns=latex_text)
    about: dict[str, Any] = {"caption": latex_text(caption) or None, "label": label or None}
    return str(escaped.to_latex(index=False, escape=False, column_format=align, **about))


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return text.translate(_LATEX)


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"
