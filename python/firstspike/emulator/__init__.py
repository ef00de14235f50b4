"""Fixed-point emulation of neuromorphic cores: quantise a trained network, place it, run it bit for bit, and account for it."""

from .core import COUNTERS, OverflowRefused
from .energy import EnergyTable
from .file import ProgramError, load, save
from .place import DoesNotFit, Placement, place
from .profile import Profile
from .program import Program
from .quantize import CannotQuantize, quantize
from .run import Run, run

__all__ = [
    "COUNTERS",
    "CannotQuantize",
    "DoesNotFit",
    "EnergyTable",
    "OverflowRefused",
    "Placement",
    "Profile",
    "Program",
    "ProgramError",
    "Run",
    "load",
    "place",
    "quantize",
    "run",
    "save",
]
