"""Energy tables: cited numbers, one TOML file each in `tables/`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from .._base.records import Record, read_toml, toml_names

_FOLDER = Path(__file__).parent / "tables"
# What a table may have in addition if its operation includes everything else on the cores.
_BESIDE = ("host_mac_pj", "integer_mac_pj", "multiply_pj", "synaptic_operation_conv_pj")
_MESH = ("hop_east_west_pj", "hop_north_south_pj", "mesh_rows", "cores_per_tile")  # all of them, or none
Text = Annotated[str, Field(min_length=1)]
Picojoules = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class EnergyTable(Record):
    """Energies in picojoules. None: the source has no figure, the part is not counted, and the report says so.

    All figures are at least 0.

    Parameters
    ----------
    name, title : for reports.
    source : where the figures come from.
    note : what they include and leave out.
    synaptic_operation_pj : one event at one synapse.
    update_active_pj, update_inactive_pj : the update of one neuron in one step, with and without an event.
    spike_pj : transport of one spike to one core.
    static_mw : power that is always drawn, mW.
    host_mac_pj : one multiply-add of a layer that runs on the host, in float32.
    integer_mac_pj : one multiply-add in integers: of a first layer, and of a ReLU net that is compared.
    multiply_pj : the part of `integer_mac_pj` that multiplies numbers of 8 bits; fewer bits take less in proportion.
    visit_pj, register_step_pj : of a core that takes one neuron after another: the read and write of its state, and one step with
        the state in registers.
    all_inclusive : the energy of the synaptic operation includes every other part on the cores, and the table has no figures of
        them.
    synaptic_operation_conv_pj : one event at one synapse of a convolution, in place of `synaptic_operation_pj`.
    fired_pj : a neuron that fires.
    message_pj : a spike sent to one core, in place of `spike_pj`.
    hop_east_west_pj, hop_north_south_pj : from tile to tile, over the mesh.
    mesh_rows, cores_per_tile : sizes of the mesh, at least 1.

    Raises
    ------
    ValueError : naming the field that is wrong.

    Examples
    --------
    >>> source = "data sheet, page 3"
    >>> mine = energy.EnergyTable(name="mine", title="My chip", source=source, note="typical", synaptic_operation_pj=8.4)
    >>> mine.spike_pj is None
    True
    """

    name: Text
    title: Text
    source: Text
    note: Text
    synaptic_operation_pj: Picojoules
    update_active_pj: Picojoules | None = None
    update_inactive_pj: Picojoules | None = None
    spike_pj: Picojoules | None = None
    static_mw: Picojoules | None = None
    host_mac_pj: Picojoules | None = None
    integer_mac_pj: Picojoules | None = None
    multiply_pj: Picojoules | None = None
    visit_pj: Picojoules | None = None
    register_step_pj: Picojoules | None = None
    all_inclusive: bool = False
    synaptic_operation_conv_pj: Picojoules | None = None
    fired_pj: Picojoules | None = None
    message_pj: Picojoules | None = None
    hop_east_west_pj: Picojoules | None = None
    hop_north_south_pj: Picojoules | None = None
    mesh_rows: Count | None = None
    cores_per_tile: Count | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, field in type(self).model_fields.items():
            if self.all_inclusive and getattr(self, name) is not None and field.default is None and name not in _BESIDE:
                raise ValueError(f"{name}: must be left out where all_inclusive is true, got {getattr(self, name)}")
        if len({getattr(self, name) is None for name in _MESH}) > 1:
            raise ValueError(f"{_MESH[0]}: hops need all of {', '.join(_MESH)}")
        return self

    @property
    def mac_pj(self) -> float | None:
        """Picojoules of one multiply-add in the number format of the table's operations: integers where it has that figure."""
        return self.host_mac_pj if self.integer_mac_pj is None else self.integer_mac_pj

    @property
    def transport_pj(self) -> float | None:
        """Picojoules of a spike sent to one core."""
        return self.spike_pj if self.message_pj is None else self.message_pj

    def operation_pj(self, convolution: bool) -> float:
        """Picojoules of one event at one synapse of a convolution or of another layer; a table may tell them apart.

        Examples
        --------
        >>> table = energy.load("loihi-sanafe")
        >>> table.operation_pj(convolution=True), table.operation_pj(convolution=False)
        (24.0, 35.5)
        """
        own = self.synaptic_operation_conv_pj if convolution else None
        return self.synaptic_operation_pj if own is None else own


def load(table: str | os.PathLike[str] | Mapping[str, Any] | EnergyTable) -> EnergyTable:
    """Return a table by name, from a TOML file with the fields of `EnergyTable`, from a mapping with them, or as it is.

    Parameters
    ----------
    table : a name, a TOML file, a mapping, or an `EnergyTable`.

    Raises
    ------
    ValueError : naming the file and the field that is wrong, or the tables that there are.

    Examples
    --------
    >>> energy.load("45nm-integer").synaptic_operation_pj
    1.35
    """
    if isinstance(table, EnergyTable):
        return table
    if isinstance(table, Mapping):
        return EnergyTable.from_dict(table, f"energy table {table.get('name', 'without a name')}")
    return EnergyTable.from_dict(read_toml("energy table", table, _FOLDER), f"energy table {table}")


def names() -> list[str]:
    """Return the names of the tables that ship.

    Examples
    --------
    >>> "45nm-integer" in energy.names()
    True
    """
    return toml_names(_FOLDER)
