"""What a net costs: counts of its layers, cited tables of energies per operation, and the energies in each schedule."""

from .account import SCHEDULES, Account, accounts, relu
from .counts import LayerCounts
from .table import EnergyTable, load, names

__all__ = ["SCHEDULES", "Account", "EnergyTable", "LayerCounts", "accounts", "load", "names", "relu"]
