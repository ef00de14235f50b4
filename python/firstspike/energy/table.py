"""The table of energies per operation, and how tables are found."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from .. import _toml
from .._fields import refuse_unknown

_PACKAGE, _FOLDER = "firstspike.energy", "tables"


_FIGURES = (
    "synaptic_operation_pj",
    "update_active_pj",
    "update_inactive_pj",
    "spike_pj",
    "static_mw",
    "host_mac_pj",
    "synaptic_operation_conv_pj",
    "fired_pj",
    "message_pj",
    "hop_east_west_pj",
    "hop_north_south_pj",
)


@dataclass(frozen=True)
class EnergyTable:
    """Energies in picojoules. None: the source has no figure, the part is not counted, and the report says so.

    synaptic_operation_pj: one event at one synapse. update_active_pj, update_inactive_pj: the update of one neuron in
    one step, with and without an event. spike_pj: transport of one spike to one core. static_mw: power that is always
    drawn. host_mac_pj: one multiply-add of a layer that runs on the host. all_inclusive: the energy of the synaptic
    operation includes every other part.

    Finer figures, where a source has them: synaptic_operation_conv_pj, of a convolution in place of the former; fired_pj: a
    neuron that fires; message_pj: a spike sent to one core; hop_east_west_pj, hop_north_south_pj: from tile to tile, over
    a mesh of mesh_rows rows with cores_per_tile cores per tile.

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
        for name in ("name", "title", "source", "note"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"energy table {self.name!r}: {name} must be a non-empty string")
        if not isinstance(self.all_inclusive, bool):
            raise ValueError(
                f"energy table {self.name!r}: all_inclusive must be true or false, got {self.all_inclusive!r}"
            )
        for name in _FIGURES:
            value = getattr(self, name)
            if name == "synaptic_operation_pj" and value is None:
                raise ValueError(f"energy table {self.name!r}: {name} must be given")
            if value is not None and not (
                isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
            ):
                raise ValueError(f"energy table {self.name!r}: {name} must be a number of at least 0, got {value!r}")
        sizes, hops = (self.mesh_rows, self.cores_per_tile), (self.hop_east_west_pj, self.hop_north_south_pj)
        for name, size in zip(("mesh_rows", "cores_per_tile"), sizes, strict=True):
            if size is not None and (type(size) is not int or size < 1):
                raise ValueError(f"energy table {self.name!r}: {name} must be an int of at least 1, got {size!r}")
        if len({value is None for value in (*sizes, *hops)}) > 1:
            raise ValueError(
                f"energy table {self.name!r}: hops need both of their energies, mesh_rows and cores_per_tile"
            )


def load(table: str | os.PathLike[str] | EnergyTable) -> EnergyTable:
    """A table by name, from a TOML file with the fields of `EnergyTable`, or as it is.

    Raises ValueError naming what is wrong, or the tables that there are.

    Examples:
        >>> energy.load("45nm-integer").synaptic_operation_pj
        1.35
    """
    if isinstance(table, EnergyTable):
        return table
    values = _toml.read("energy table", _PACKAGE, _FOLDER, table)
    fields = dataclasses.fields(EnergyTable)
    refuse_unknown(values, [field.name for field in fields], missing=f"energy table {str(table)!r} has no")
    absent = [field.name for field in fields if field.default is dataclasses.MISSING and field.name not in values]
    if absent:
        raise ValueError(f"energy table {str(table)!r}: {absent[0]} must be given")
    return EnergyTable(**values)


def names() -> list[str]:
    """The tables that ship.

    Examples:
        >>> "45nm-integer" in energy.names()
        True
    """
    return _toml.names(_PACKAGE, _FOLDER)
