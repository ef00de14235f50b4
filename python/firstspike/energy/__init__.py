"""What a net costs: counts of its layers, cited tables of energies per operation, and the energies in each schedule."""

from . import lemaire
from .account import SCHEDULES, Account, accounts, relu
from .comparison import break_even, compare, verdict
from .counts import LayerCounts
from .table import EnergyTable, load, names

__all__ = [
    "SCHEDULES",
    "Account",
    "EnergyTable",
    "LayerCounts",
    "accounts",
    "break_even",
    "compare",
    "lemaire",
    "load",
    "names",
    "relu",
    "verdict",
]
