"""Chip profiles: the parameters of a chip as data, each with its source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, InstanceOf, field_serializer, field_validator, model_validator

from ... import energy as energy_tables
from ..._base import checks
from ..._base.checks import MAX_STEPS, shown
from ..._base.records import FieldError, Record, read_toml, toml_names
from ...energy import EnergyTable
from .layers import Fire, Leak, Policy, Register, Update

__all__ = ["CoreKind", "Fpga", "Profile", "load", "names"]

FOLDER = Path(__file__).with_name("profiles")
MAX_CORES = 1 << 16
_CONVOLUTION_MEMORIES = ("kernel_entries", "neuron_entries")
_OTHER_MEMORIES = ("neurons", "axons_in", "axons_out", "synapse_bits")
_KEYS = ({"value"}, {"unknown"}, {"low", "high"})  # of a parameter's table in TOML, besides its source

Count = Annotated[int, Field(ge=1, le=1 << 31)]
Entries = Annotated[int, Field(ge=0, le=1 << 62)]
Schedule = Literal["clocked", "event", "neuron-by-neuron", "payload"]
Nanoseconds = Annotated[float, Field(gt=0)]


class CoreKind(Record):
    """A kind of core and the number of such cores; None: no known limit.

    Attributes
    ----------
    count : how many such cores the chip has.
    neurons : neurons of a core.
    axons_in : distinct sources that a core listens to.
    axons_out : pairs of a neuron of the core and a core where it has a synapse.
    synapse_bits : memory for weights.
    kernel_entries, neuron_entries : memories of a convolution core, in weights and in neurons.
    source : where the numbers are from.

    Examples
    --------
    >>> emulator.profile.CoreKind(count=4, neurons=256).axons_in is None
    True
    """

    count: Annotated[int, Field(ge=1, le=MAX_CORES)]
    neurons: Entries | None = None
    axons_in: Entries | None = None
    axons_out: Entries | None = None
    synapse_bits: Entries | None = None
    kernel_entries: Entries | None = None
    neuron_entries: Entries | None = None
    source: str = ""


class Fpga(Record):
    """The core of `emulator.export_rtl` on an FPGA of the family Lattice ECP5 (docs/fpga.md).

    Attributes
    ----------
    lanes : neurons that a cluster computes side by side.
    clusters : how many clusters there are.
    multipliers : multipliers of the FPGA; lanes without one add shifted weights.
    block_rams : memories of 18 kbit of the FPGA.
    megahertz : clock that the core runs at.

    Examples
    --------
    >>> emulator.profile.load("rtl-ecp5-85").fpga.block_rams
    208
    """

    lanes: Annotated[int, Field(ge=1, le=64)] = 16
    clusters: Annotated[int, Field(ge=1, le=16)] = 4
    multipliers: Annotated[int, Field(ge=0, le=1 << 16)]
    block_rams: Annotated[int, Field(ge=1, le=1 << 16)]
    megahertz: Annotated[float, Field(gt=0)] = 50.0


class Profile(Record):
    """The parameters of a chip; None is unknown or absent (`sources` says which). The arithmetic is in docs/emulator.md.

    Attributes
    ----------
    name, description : of the chip, for messages and reports.
    weight_bits : bits of a stored weight, 2 to 31.
    weight_sign : "signed" (two's complement), "even" (only even values, one bit more of range: Loihi's mixed sign) or
        "source" (all weights of a source have one sign).
    weight_shift : number of bits by which a weight, or a bias, is shifted left as it enters, 0 to 16.
    window_shift : the same of a weight that switches a current on, in nets of windows; None: there is no current that stays.
    accumulator_bits : bits of the register that sums the weights of a step, 2 to 61; None where there is none.
    accumulator_overflow, membrane_overflow : "saturate", "wrap" or "error", see docs/emulator.md, "Policies".
    membrane_bits : bits of the membrane, 2 to 61.
    membrane_values : "signed" (two's complement), "symmetric" (without its lowest value) or "unsigned".
    threshold_bits : bits of a stored threshold, 1 to 60.
    threshold_shift : number of bits by which a stored threshold is shifted left, at most `weight_shift`.
    threshold_groups : how many different thresholds a core holds; None unless thresholds is "group".
    thresholds : one per "neuron", a few per core ("group") or one per "layer".
    bias_bits : bits of a bias, its sign included, 0 to 40; 0: there are none; None: biases are refused as well.
    decay_bits : the membrane's decay is a multiple of 1 / 2^decay_bits, 0 to 16; 0: there is no leak.
    leak : "scale", or "shift": a register loses V / 2^k, rounded down but at least one, with k from 1 to decay_bits.
    current : True if the input enters a current, in the accumulator's register, that leaks from step to step as membranes do.
    fire : "ge" (a neuron fires at V >= threshold) or "gt" (at V > threshold).
    update : "clocked" (sum the events of a step, then test) or "event" (test after every event).
    schedules : how the chip can go through a net of windows, the first by default: see `energy.accounts`; None: as `update`.
    axon_delay : number of steps after its spike at which an event arrives, 0 to 64.
    single_spike : what keeps a neuron from firing twice: "native", "refractory" (a period that outlasts the run, of at most
        `single_spike_steps`) or "assumed" (the chip has nothing for it).
    single_spike_steps : the longest refractory period in steps; None unless single_spike is "refractory".
    shared_weights : a core stores the kernel of a convolution once; else one weight per synapse.
    step_nanoseconds : shortest and longest time of a step; None where there are no steps.
    energy : the energy table of a report that names none: the name of one that ships, the table itself, a mapping with its
        values, or the path of its TOML file.
    cores : the kinds of core, see `CoreKind`; in TOML one `[[cores]]` each.
    convolution_cores : a core takes one layer, as a convolution.
    max_kernel, max_padding, max_features, max_output_side : largest side of a kernel, padding, channels and side of a map.
    strides, pools : the strides, and the sizes of average pools, that there are.
    max_destinations : how many layers a layer may feed; a chain feeds one, with residual blocks two.
    max_fan_in : how many synapses a neuron may have.
    fpga : where the chip is the core of `emulator.export_rtl`, its size, see `Fpga`; such a chip takes nets of windows only.
    sources : parameter to the source of its value; a kind of core has its own.

    Examples
    --------
    >>> profile = emulator.profile.load("loihi-like")
    >>> profile.weight_bits, profile.thresholds, profile.bias_bits
    (8, 'group', 13)
    >>> profile.replace(weight_bits=4).sources["weight_bits"]
    'changed by the user'
    """

    name: Annotated[str, Field(min_length=1)]
    description: str
    weight_bits: Annotated[int, Field(ge=2, le=31)]
    weight_sign: Literal["signed", "even", "source"]
    weight_shift: Annotated[int, Field(ge=0, le=16)]
    window_shift: Annotated[int, Field(ge=0, le=16)] | None = None
    accumulator_bits: Annotated[int, Field(ge=2, le=61)] | None
    accumulator_overflow: Policy | None
    membrane_bits: Annotated[int, Field(ge=2, le=61)]
    membrane_values: Literal["signed", "symmetric", "unsigned"]
    membrane_overflow: Policy
    threshold_bits: Annotated[int, Field(ge=1, le=60)]
    threshold_shift: Annotated[int, Field(ge=0, le=16)]
    threshold_groups: Count | None
    thresholds: Literal["neuron", "group", "layer"]
    bias_bits: Annotated[int, Field(ge=0, le=40)] | None
    decay_bits: Annotated[int, Field(ge=0, le=16)]
    leak: Leak = "scale"
    current: bool = False
    fire: Fire
    update: Update
    axon_delay: Annotated[int, Field(ge=0, le=64)]
    single_spike: Literal["native", "refractory", "assumed"]
    single_spike_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None
    shared_weights: bool
    step_nanoseconds: tuple[Nanoseconds, Nanoseconds] | None
    energy: str | InstanceOf[EnergyTable] | None
    cores: Annotated[tuple[CoreKind, ...], Field(min_length=1)]
    convolution_cores: bool = False
    max_kernel: Count | None = None
    strides: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    pools: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    max_padding: Annotated[int, Field(ge=0, le=1 << 31)] | None = None
    max_features: Count | None = None
    max_output_side: Count | None = None
    max_destinations: Count | None = None
    max_fan_in: Count | None = None
    fpga: Fpga | None = None
    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)] | None = None
    sources: dict[str, str] = Field(default_factory=dict)

    @field_validator("energy", mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        ships = isinstance(value, str) and value in energy_tables.names()
        return energy_tables.load(value) if isinstance(value, (str, os.PathLike, Mapping)) and not ships else value

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.threshold_shift > self.weight_shift:
            raise ValueError(f"threshold_shift: must be at most weight_shift, {self.weight_shift}")
        if self.thresholds == "group" and self.threshold_groups is None:
            raise ValueError('threshold_groups: must be a number if thresholds is "group"')
        if self.membrane_values == "symmetric" and self.membrane_overflow == "wrap":
            raise ValueError('membrane_overflow: must not be "wrap" if membrane_values is "symmetric"')
        if self.membrane_values == "unsigned" and self.membrane_bits > 60:
            raise ValueError('membrane_bits: must be at most 60 if membrane_values is "unsigned"')
        if (self.current or self.leak == "shift") and (self.update == "event" or not self.decay_bits):
            raise ValueError("current: it and leaks by shift need decay_bits and update clocked")
        if self.step_nanoseconds is not None and self.step_nanoseconds[0] > self.step_nanoseconds[1]:
            raise ValueError(f"step_nanoseconds: must be the shortest, then the longest, got {self.step_nanoseconds}")
        if sum(kind.count for kind in self.cores) > MAX_CORES:
            raise ValueError(f"cores: must be at most {MAX_CORES} together")
        foreign = _OTHER_MEMORIES if self.convolution_cores else _CONVOLUTION_MEMORIES
        for name in foreign:
            if any(getattr(kind, name) is not None for kind in self.cores):
                raise ValueError(f"cores: must have no {name} if convolution_cores is {self.convolution_cores}")
        return self

    @field_serializer("energy")
    def _figures(self, table: str | EnergyTable | None) -> Any:
        if table is None or isinstance(table, str):
            return table
        return {name: value for name, value in vars(table).items() if value is not None}

    def __eq__(self, other: object) -> bool:  # sources are notes
        return isinstance(other, Profile) and vars(self) | {"sources": None} == vars(other) | {"sources": None}

    __hash__ = None  # type: ignore[assignment]

    @property
    def accumulator(self) -> Register:
        """The register of a step's input; where the chip has none, one wide enough never to matter."""
        if self.accumulator_bits is None:
            return Register.of(60, "signed", "saturate")
        return Register.of(self.accumulator_bits, "signed", self.accumulator_overflow or "saturate")

    @property
    def membrane(self) -> Register:
        """The register of the membrane."""
        return Register.of(self.membrane_bits, self.membrane_values, self.membrane_overflow)

    @property
    def thresholds_per_core(self) -> int | None:
        """How many different thresholds a core holds; None for any number of them."""
        return self.threshold_groups if self.thresholds == "group" else None

    @property
    def weight_step(self) -> int:
        """Distance of neighbouring weights, 2 for "even"."""
        return 2 if self.weight_sign == "even" else 1

    def ways(self) -> tuple[str, ...]:
        """The schedules that the chip can have, the usual one first."""
        return self.schedules or (self.update,)

    def schedule_named(self, schedule: str | None) -> str:
        """The schedule, or the usual one for None. Raises ValueError if the chip cannot have it."""
        if schedule is None or schedule in self.ways():
            return schedule or self.ways()[0]
        checks.one_of("schedule", schedule, energy_tables.SCHEDULES)
        others = [name for name in names() if schedule in load(name).ways()]
        remedy = f"; {', '.join(others)} can" if others else ""
        raise ValueError(f"schedule must be one that {self.name} can have ({', '.join(self.ways())}), got {schedule!r}{remedy}")

    def replace(self, **changes: Any) -> Self:
        """A copy with some parameters changed; their source becomes "changed by the user"."""
        changed = [name for name in changes if name not in ("name", "description", "cores", "sources")]
        sources = {**self.sources, **dict.fromkeys(changed, "changed by the user")}
        return super().replace(**{"sources": sources, **changes})

    def unknown(self) -> list[str]:
        """The parameters that are None, each with its reason."""
        return [f"{name}: {why}" for name, why in self.sources.items() if getattr(self, name, "") is None]

    def energy_table(self) -> EnergyTable | None:
        """The table that `energy` is or names, or None."""
        return None if self.energy is None else energy_tables.load(self.energy)

    def to_toml(self) -> str:
        """The profile as the text of a TOML file, with all sources ("none given" where there is none); `load` reads it."""
        values = self.to_dict()
        tables: dict[str, Any] = {"name": self.name, "description": self.description}
        for name, field in type(self).model_fields.items():
            value, source = values[name], self.sources.get(name)
            if name in (*tables, "cores", "sources") or (source is None and getattr(self, name) == field.default):
                continue
            table = {"unknown": True} if value is None else {"value": value}
            if name == "step_nanoseconds" and value is not None:
                table = dict(zip(("low", "high"), value, strict=True))
            tables[name] = table | {"source": source or "none given"}
        cores = [{name: value for name, value in kind.items() if value not in (None, "")} for kind in values["cores"]]
        return tomli_w.dumps({**tables, "cores": cores})


def load(profile: str | os.PathLike[str] | Profile) -> Profile:
    """Return a profile by name (`generic8`, `loihi-like`, `rtl-ecp5-85`, ...: `names`), from a TOML file, or as it is.

    Each parameter in the file is a table with its `source` and one of `value`, `unknown = true`, or `low` and `high`;
    `[[cores]]` are the kinds of core. `energy` names a table that ships, or a path from the folder of the file.

    Parameters
    ----------
    profile : a name, a TOML file, or a `Profile`.

    Raises
    ------
    ValueError : that names file and parameter.

    Examples
    --------
    >>> from pathlib import Path
    >>> mine = emulator.profile.load("generic8").replace(name="mine", weight_bits=6)
    >>> _ = Path("my-chip.toml").write_text(mine.to_toml(), encoding="utf-8")
    >>> emulator.profile.load("my-chip.toml") == mine
    True
    """
    if isinstance(profile, Profile):
        return profile
    values, origin = read_toml("profile", profile, FOLDER), f"profile {os.fspath(profile)}"
    try:
        fields = _from_tables(values)
        if isinstance(fields.get("energy"), str) and fields["energy"] not in energy_tables.names():
            fields["energy"] = str((Path(profile).parent / fields["energy"]).resolve())
        return Profile(**fields)
    except ValueError as error:
        raise FieldError(f"{origin}: {error}") from error


def _from_tables(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Profile`, from the tables in a TOML file."""
    fields: dict[str, Any] = {"description": "", "step_nanoseconds": None, "sources": {}}
    for name, table in values.items():
        if name in ("name", "description", "cores"):
            fields[name] = table
            continue
        if not isinstance(table, dict) or not isinstance(table.get("source"), str) or not table["source"]:
            raise FieldError(f"{name}: must be a table with a source")
        given = {key: value for key, value in table.items() if key != "source"}
        if set(given) not in _KEYS or given.get("unknown", True) is not True:
            raise FieldError(f"{name}: must have value, unknown = true, or low and high together, got {shown(given)}")
        fields["sources"][name] = table["source"]
        fields[name] = [given["low"], given["high"]] if "low" in given else given.get("value")
    return fields


def names() -> list[str]:
    """Return the names of the profiles that ship.

    Examples
    --------
    >>> emulator.profile.names()
    ['generic8', 'loihi-like', 'loihi2-graded', 'odin-like', 'rtl-ecp5-25', 'rtl-ecp5-85', 'speck-like', 'xylo-like']
    """
    return toml_names(FOLDER)
