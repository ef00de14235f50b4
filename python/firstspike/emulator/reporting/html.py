"""A report as one HTML page. It is built from plain tables, and knows nothing of the class that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...report import Page
from ...report.tables import MISSING
from .labels import label
from .values import text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Energy:
    """One energy table's part of the page: title, rows, and notes below them."""

    title: str
    rows: pd.DataFrame
    notes: Sequence[str]


@dataclass(frozen=True)
class Contents:
    """What the page shows; None leaves a section out."""

    title: str
    subtitle: str
    summary: Mapping[str, Any]
    origin: Mapping[str, Any]
    refusal: str | None
    overflows: Sequence[str]
    layers: pd.DataFrame
    energy: Sequence[Energy]
    mismatches: pd.DataFrame | None
    quantisation: pd.DataFrame | None
    placement: pd.DataFrame | None
    placement_figure: Figure | None
    profile: pd.DataFrame


def page(c: Contents) -> Page:
    """The page: predictions, layers, energy, mismatches, quantisation, placement, profile, origin."""
    made = Page(c.title, c.subtitle)
    made.section("Result").facts({label(name): text(value) for name, value in c.summary.items() if name != "refusal"})
    if c.refusal:
        made.notice(f"This program does not fit the chip: {c.refusal}. Its arithmetic was emulated all the same.")
    if c.overflows:
        made.notice("\n\n".join(c.overflows))
    made.section("Layers").table(
        _texts(c.layers, none=MISSING),
        "Means per image; overflows in all images.",
        "An operation is delivered to every synapse of an event. It is effective if the neuron had not fired yet. "
        "An update is active if an event arrived in that step.",
    )
    made.section("Energy")
    for part in c.energy:
        made.table(_texts(part.rows), f"{part.title}.", "\n\n".join(part.notes))
    if c.mismatches is not None:
        made.section("Against the float network").text(
            f"{len(c.mismatches)} predictions differ from the float network's."
        )
        if len(c.mismatches):
            made.table(_texts(c.mismatches.head(50)), "Predictions that differ (the first 50).")
    if c.quantisation is not None:
        made.section("Quantisation").table(
            _texts(c.quantisation, none=MISSING), "Weights, thresholds, and registers that no input can overflow."
        )
    if c.placement is not None and c.placement_figure is not None:
        made.section("Placement").table(_texts(c.placement), "Neurons on cores.").figure(
            c.placement_figure, "Use of the cores."
        )
    made.section("Profile").table(_texts(c.profile), "Parameters and their sources.")
    made.section("Origin").facts({name: text(value) for name, value in c.origin.items()})
    return made


def _texts(frame: pd.DataFrame, none: str = "unknown") -> pd.DataFrame:
    """The table as texts; none: what stands for a value that is missing, "unknown" or a dash where it does not apply."""
    shown = frame.map(lambda value: none if value is None or value != value else text(value))
    if "part" in shown:
        shown["part"] = shown["part"].map(label)
    return shown.rename(columns=label)
