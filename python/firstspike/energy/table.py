"""The table of energies per operation, and how tables are found."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._base import toml
from .._base.fields import check_types, refuse_absent, refuse_unknown, within

_PACKAGE, _FOLDER = "firstspike.energy", "tables"
# What a table may have besides whose operation includes everything else on the cores.
_BESIDE = ("host_mac_pj", "synaptic_operation_conv_pj")
_MESH = ("hop_east_west_pj", "hop_north_south_pj", "mesh_rows", "cores_per_tile")  # all of them, or none


@dataclass(frozen=True)
class EnergyTable:
    """Energies in picojoules. None: the source has no figure, the part is not counted, and the report says so.

    name, title: for reports. source: where the figures come from. note: what they include and leave out.

    synaptic_operation_pj: one event at one synapse. update_active_pj, update_inactive_pj: the update of one neuron in
    one step, with and without an event. spike_pj: transport of one spike to one core. static_mw: power that is always
    drawn, mW. host_mac_pj: one multiply-add of a layer that runs on the host. all_inclusive: the energy of the synaptic
    operation includes every other part on the cores, and the table has no figures of them.

    Finer figures, where a source has them: synaptic_operation_conv_pj, of a convolution in place of the former; message_pj:
    a spike sent to one core, in place of spike_pj; fired_pj: a neuron that fires; hop_east_west_pj, hop_north_south_pj: from
    tile to tile, over a mesh of mesh_rows rows with cores_per_tile cores per tile. All figures are at least 0, sizes at least 1.

    Raises ValueError or TypeError naming the table and the field that is wrong.

    Examples:
        >>> energy.EnergyTable("mine", "My chip", "data sheet, page 3", "typical", synaptic_operation_pj=8.4).spike_pj is None
        True
    """

    name: str
    title: str
    source: str
    note: str
    synaptic_operation_pj: float
    update_active_pj: float | None = None
    update_inactive_pj: float | None = None
    spike_pj: float | None = None
    static_mw: float | None = None
    host_mac_pj: float | None = None
    all_inclusive: bool = False
    synaptic_operation_conv_pj: float | None = None
    fired_pj: float | None = None
    message_pj: float | None = None
    hop_east_west_pj: float | None = None
    hop_north_south_pj: float | None = None
    mesh_rows: int | None = None
    cores_per_tile: int | None = None

    def __post_init__(self) -> None:
        prefix = f"energy table {self.name}: "
        check_types(self, prefix)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == "":
                raise ValueError(f"{prefix}{field.name} must be a text that is not empty")
            if type(value) in (int, float):
                within(f"{prefix}{field.name}", value, 1 if type(value) is int else 0)
            if self.all_inclusive and value is not None and field.default is None and field.name not in _BESIDE:
                raise ValueError(f"{prefix}{field.name} must be left out where all_inclusive is true, got {value}")
        if len({getattr(self, name) is None for name in _MESH}) > 1:
            raise ValueError(f"{prefix}hops need all of {', '.join(_MESH)}")

    def operation_pj(self, convolution: bool) -> float:
        """Picojoules of one event at one synapse of a convolution or of another layer; a table may tell them apart.

        Examples:
            >>> table = energy.load("loihi-sanafe")
            >>> table.operation_pj(convolution=True), table.operation_pj(convolution=False)
            (24.0, 35.5)
        """
        own = self.synaptic_operation_conv_pj if convolution else None
        return self.synaptic_operation_pj if own is None else own


def load(table: str | os.PathLike[str] | Mapping[str, Any] | EnergyTable) -> EnergyTable:
    """A table by name, from a TOML file with the fields of `EnergyTable`, from a mapping with them, or as it is.

    Raises ValueError or TypeError naming the file and the field that is wrong, or the tables that there are.

    Examples:
        >>> energy.load("45nm-integer").synaptic_operation_pj
        1.35
    """
    if isinstance(table, EnergyTable):
        return table
    if isinstance(table, Mapping):
        values, origin = dict(table), f"energy table {table.get('name', 'without a name')}"
    else:
        values, origin = toml.read("energy table", _PACKAGE, _FOLDER, table), f"energy table {os.fspath(table)}"
    refuse_unknown(values, [field.name for field in dataclasses.fields(EnergyTable)], missing=f"{origin} has no")
    refuse_absent(values, EnergyTable, f"{origin}: ")
    try:
        return EnergyTable(**values)
    except (TypeError, ValueError) as error:
        text = str(error).removeprefix(f"{origin}: ").removeprefix("energy table ")
        raise type(error)(f"{origin}: {text}") from error


def load_all(tables: Iterable[str | os.PathLike[str] | Mapping[str, Any] | EnergyTable]) -> list[EnergyTable]:
    """The tables of a report, each as `load` takes it. Raises ValueError where two have the same name, which tells them apart."""
    found = [load(table) for table in tables]
    for name, number in Counter(table.name for table in found).items():
        if number > 1:
            raise ValueError(f"tables must have different names, got {number} of the name {name!r}")
    return found


def names() -> list[str]:
    """The tables that ship.

    Examples:
        >>> "45nm-integer" in energy.names()
        True
    """
    return toml.names(_PACKAGE, _FOLDER)
