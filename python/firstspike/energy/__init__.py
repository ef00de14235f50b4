"""Energy tables: cited numbers, one TOML file each in `tables/`. A report names the table that it used."""

from .table import EnergyTable, load, names

__all__ = ["EnergyTable", "load", "names"]
