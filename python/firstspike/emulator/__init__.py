"""Emulation of fixed-point neuromorphic cores: quantise a trained network, place it, run it bit for bit, report it."""

from ..energy import EnergyTable
from .export.exporting import Exported, export_c
from .placement.feasibility import Check, check
from .placement.placer import DoesNotFit, Placement, place
from .program import profile
from .program.engine import COUNTERS, OverflowRefused, instruction_set
from .program.profile import Profile
from .program.program import Program
from .program.serialization import ProgramError, load, save
from .quantization import qat
from .quantization.from_modules import CannotQuantize
from .quantization.quantizer import quantize
from .quantization.sensitivity import layer_sensitivity
from .reporting.runner import Run, run
from .reporting.statistics import Report, report

__all__ = [
    "COUNTERS",
    "CannotQuantize",
    "Check",
    "DoesNotFit",
    "EnergyTable",
    "Exported",
    "OverflowRefused",
    "Placement",
    "Profile",
    "Program",
    "ProgramError",
    "Report",
    "Run",
    "check",
    "export_c",
    "instruction_set",
    "layer_sensitivity",
    "load",
    "place",
    "profile",
    "qat",
    "quantize",
    "report",
    "run",
    "save",
]
