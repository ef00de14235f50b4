"""The sections in the order in which they run; each module has TITLE, measure(session), and makes its tables and
figures.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = (
    *("accuracy", "windowed", "sweep", "steps", "growth", "crossover"),
    *("inference", "integers", "memory", "threads", "cortex", "rtl"),
)
#: Left out of the quick form: what they need takes minutes.
LONG = ("sweep", "accuracy", "crossover", "rtl")
#: With the C library's own settings; in the others it keeps what is freed.
DEFAULT_ALLOCATOR = ("memory",)


def section(name: str) -> ModuleType:
    """The module of a section; ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"section must be one of {', '.join(NAMES)}, got {name!r}")
    return import_module(f"{__name__}.{name}")
