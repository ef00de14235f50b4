"""A report as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ...report import Page
from ..program.layers import Register

if TYPE_CHECKING:
    from .statistics import Report


def page(report: Report) -> Page:
    """The page: answers, layers, energy, quantisation, placement, profile."""
    program, summary = report.run.program, report.summary()
    made = Page(f"{program.name} on {program.profile.name}", program.profile.description)
    made.section("Result").facts({name: _text(value) for name, value in summary.items()})
    if report.refusal:
        made.notice(f"This program does not fit the chip: {report.refusal}. Its arithmetic was emulated all the same.")
    made.section("Layers").table(
        _texts(report.layers()),
        "Means an image; overflows in all images.",
        "An operation is delivered to every synapse of an event, and effective where the neuron had not fired yet. "
        "An update is active where an event arrived in that step.",
    )
    made.section("Energy")
    for account in report.accounts:
        made.table(
            _texts(account.frame()),
            f"{account.table.title} ({account.table.name}).",
            "\n\n".join([account.table.source, *account.notes]),
        )
    unlike = report.disagreements()
    if report.float_predictions is not None:
        made.section("Against the float network").text(
            f"{len(unlike)} of {len(report.run.predictions)} answers differ."
        )
        if len(unlike):
            made.table(_texts(unlike.head(50)), "Answers that differ (the first 50).")
    if program.table:
        made.section("Quantisation").table(
            _texts(pd.DataFrame(program.table)), "Weights, thresholds, and registers that no input can overflow."
        )
    if report.placement is not None:
        made.section("Placement").table(_texts(report.placement.table()), "Neurons on cores.").figure(
            report.placement.figure(), "Use of the cores."
        )
    made.section("Profile").table(_texts(_parameters(report)), "Parameters and where they are from.")
    return made


def _parameters(report: Report) -> pd.DataFrame:
    profile = report.run.program.profile
    values: dict[str, Any] = profile.to_dict()
    return pd.DataFrame(
        [{"parameter": name, "value": values.get(name), "source": source} for name, source in profile.sources.items()]
    )


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.map(_text)


def _text(value: Any) -> str:
    if isinstance(value, Register):
        return f"{value.low} to {value.high}, {value.policy}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or (isinstance(value, float) and value != value):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
