"""Warnings that point at the user's code."""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """Warn at the line of the user's code that called into firstspike."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and is_known(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def is_known(module: str) -> bool:
    """Whether a module of this name is firstspike's or torch's."""
    return module.partition(".")[0] in ("firstspike", "torch")
