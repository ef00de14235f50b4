"""Fixed-point emulation of neuromorphic cores: quantise a trained network, place it, run it bit for bit, and account
for it."""

from ..energy import EnergyTable
from .core import COUNTERS, OverflowRefused, instruction_set
from .file import ProgramError, load, save
from .place import DoesNotFit, Placement, place
from .profile import Profile
from .program import Program
from .quantize import CannotQuantize, quantize
from .report import Report, report
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
    "Report",
    "Run",
    "instruction_set",
    "load",
    "place",
    "quantize",
    "report",
    "run",
    "save",
]
