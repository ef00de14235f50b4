"""Emulation of fixed-point neuromorphic cores: quantise a trained network, place it, run it bit for bit, report it."""

from ..energy import EnergyTable
from .export.cycles import cycles
from .export.exporting import Exported, export_c
from .export.rtl import ExportedRtl, export_rtl
from .inference import IntegerNet
from .placement import Check, DoesNotFit, Placement, check, place
from .program import profile
from .program.profile import Profile
from .program.program import COUNTERS, OverflowRefused, Program, instruction_set
from .program.serialization import ProgramError, load, save
from .program.stopping import stopped
from .quantization import qat
from .quantization.quantizer import quantize
from .quantization.refusals import CannotQuantize
from .reporting.cost import counts
from .reporting.report import Report, report
from .reporting.run import Run, run
from .reporting.stopping import stopping

__all__ = [
    "COUNTERS",
    "CannotQuantize",
    "Check",
    "DoesNotFit",
    "EnergyTable",
    "Exported",
    "ExportedRtl",
    "IntegerNet",
    "OverflowRefused",
    "Placement",
    "Profile",
    "Program",
    "ProgramError",
    "Report",
    "Run",
    "check",
    "counts",
    "cycles",
    "export_c",
    "export_rtl",
    "instruction_set",
    "load",
    "place",
    "profile",
    "qat",
    "quantize",
    "report",
    "run",
    "save",
    "stopped",
    "stopping",
]
