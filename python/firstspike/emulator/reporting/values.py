"""Values as reports show them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from ..program.layers import Register


def text(value: Any) -> str:
    """A value as a reader expects it: four digits, thousands apart, yes or no, "unknown" for None."""
    if isinstance(value, Register):
        return f"{value.low} to {value.high}, {value.policy}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or (isinstance(value, float) and value != value):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value) if abs(int(value)) < 10_000 else f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
