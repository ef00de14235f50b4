"""Cells of tables: a median with its quartiles, a ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nets import COMPILED, FIRES_ONCE
from .timing import speedup

ABSENT = "–"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def milliseconds(times: Mapping[str, Mapping[str, Any]], side: str) -> str:
    """Median (lower to upper quartile) of a side in a record's `times`, in milliseconds; a dash where it was not
    measured.
    """
    if side not in times:
        return ABSENT
    time = times[side]
    return f"{number(time['median'])} ({number(time['low'])} to {number(time['high'])})"


def faster(times: Mapping[str, Mapping[str, Any]], side: str) -> str:
    """The name of a side's faster form, see `nets.forms`; the side's own where it was not measured."""
    return min((form for form in (side, side + COMPILED) if form in times), key=lambda form: times[form]["median"], default=side)


def short_columns(times: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Medians of ours, SpikingJelly and the compiled dense net, with the ratios; a dash where one was not measured."""
    sides = {"firstspike": "firstspike", "SpikingJelly": "spikingjelly", "dense, compiled": "dense"}
    if FIRES_ONCE in times:
        sides["SpikingJelly, fires once"] = FIRES_ONCE
    found = {}
    for name, side in sides.items():
        found[f"{name}, ms"] = number(times[side]["median"]) if side in times else ABSENT
        if side != "firstspike":
            found[f"{name}: times as long"] = ratio(times, side)
    return found


def comparison_columns(times: Mapping[str, Mapping[str, Any]], targets: tuple[float, float]) -> dict[str, str]:
    """The columns that compare us with SpikingJelly and the compiled dense net, each with the ratio that is aimed at."""
    return {
        "firstspike, ms": milliseconds(times, "firstspike"),
        "SpikingJelly, ms": milliseconds(times, "spikingjelly"),
        "ratio": ratio(times, "spikingjelly"),
        "target": f"{targets[0]}",
        "dense compiled, ms": milliseconds(times, "dense"),
        "ratio ": ratio(times, "dense"),
        "target ": f"{targets[1]}",
    }


def ratio(times: Mapping[str, Mapping[str, Any]], side: str, ours: str = "firstspike") -> str:
    """How many times as long as ours a side takes, such as "8.3x"; a dash where either was not measured."""
    if side not in times or ours not in times:
        return ABSENT
    return f"{speedup(times[side]['samples'], times[ours]['samples']):.1f}x"
