"""Chip profiles: the parameters of a core as data, each with its source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..._base import toml
from ..._base.fields import refuse_absent, refuse_unknown
from ...energy import EnergyTable
from .core_kind import CoreKind
from .layers import Register
from .profile_energy import held, loaded, written
from .profile_file import dumps, parse
from .profile_values import check

__all__ = ["CoreKind", "Profile", "load", "names", "table"]


@dataclass(frozen=True)
class Profile:
    """The parameters of a chip; None is unknown or absent (`sources` says which). The arithmetic is in
    docs/emulator.md.

    Attributes:
        name: what the profile is called.
        description: one line about it.
        weight_bits: bits of a stored weight, 2 to 31.
        weight_sign: "signed" (two's complement), "even" (only even values, one bit more of range: Loihi's mixed sign) or
            "source" (all weights of a source have one sign).
        weight_shift: number of bits by which a weight is shifted left as it enters, 0 to 16; so is a bias.
        accumulator_bits: bits of the register that sums the weights of a step; None where there is none.
        accumulator_overflow: "saturate", "wrap" or "error", see docs/emulator.md, "Policies"; of an accumulator of known bits
            "saturate" where it is unknown.
        membrane_bits: bits of the membrane, 2 to 61.
        membrane_values: "signed" (two's complement), "symmetric" (without its lowest value) or "unsigned".
        membrane_overflow: "saturate", "wrap" or "error".
        threshold_bits: bits of a stored threshold, 1 to 60.
        threshold_shift: number of bits by which a stored threshold is shifted left, at most `weight_shift`.
        threshold_groups: how many different thresholds a core holds, where `thresholds` is "group".
        thresholds: one per "neuron", a few per core ("group") or one per "layer".
        bias_bits: bits of a bias, its sign included; 0: there are none; None: biases are refused as well.
        decay_bits: the membrane's decay is a multiple of 1 / 2^decay_bits, 0 to 16; 0: there is no leak.
        fire: "ge" (a neuron fires at V >= threshold) or "gt" (at V > threshold).
        update: "clocked" (sum the events of a step, then test) or "event" (test after every event).
        axon_delay: number of steps after its spike at which an event arrives, 0 to 64.
        single_spike: what keeps a neuron from firing twice: "native", "refractory" (a period that outlasts the run) or
            "assumed" (the chip has nothing for it).
        single_spike_steps: the most steps that the refractory period lasts, so the longest run; None: no limit.
        shared_weights: a core stores the kernel of a convolution once; else one weight per synapse.
        step_nanoseconds: shortest and longest time of a step; None where there are no steps.
        energy: the energy table of a report that names none: the name of one that ships, or the table itself. The path of
            a TOML file is read at once in a profile's file (from the folder of that file) and by `replace`; elsewhere where
            the table is used or written.
        cores: the kinds of core, see `CoreKind`; in TOML one `[[cores]]` each.
        convolution_cores: a core takes one layer, as a convolution.
        max_kernel: the largest side of a kernel.
        strides, pools: the strides, and the sizes of average pools, that there are.
        max_padding, max_features, max_output_side: the largest padding, number of output channels and side of a map.
        max_destinations: how many layers a layer may feed; a chain feeds one, with residual blocks two.
        max_fan_in: how many synapses a neuron may have.
        sources: parameter to the source of its value; a kind of core has its own.

    Examples:
        >>> profile = emulator.profile.load("loihi-like")
        >>> profile.weight_bits, profile.thresholds, profile.bias_bits
        (8, 'group', 13)
        >>> profile.replace(weight_bits=4).sources["weight_bits"]
        'changed by the user'
    """

    name: str
    description: str
    weight_bits: int
    weight_sign: str
    weight_shift: int
    accumulator_bits: int | None
    accumulator_overflow: str | None
    membrane_bits: int
    membrane_values: str
    membrane_overflow: str
    threshold_bits: int
    threshold_shift: int
    threshold_groups: int | None
    thresholds: str
    bias_bits: int | None
    decay_bits: int
    fire: str
    update: str
    axon_delay: int
    single_spike: str
    single_spike_steps: int | None
    shared_weights: bool
    step_nanoseconds: tuple[float, float] | None
    energy: str | EnergyTable | None
    cores: tuple[CoreKind, ...]
    convolution_cores: bool = False
    max_kernel: int | None = None
    strides: tuple[int, ...] | None = None
    pools: tuple[int, ...] | None = None
    max_padding: int | None = None
    max_features: int | None = None
    max_output_side: int | None = None
    max_destinations: int | None = None
    max_fan_in: int | None = None
    sources: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        check(self)

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

    def replace(self, **changes: Any) -> Profile:
        """A copy with some parameters changed; their source becomes "changed by the user".

        energy: the path of a TOML file is taken too, and the file read at once. Raises ValueError naming an unknown
        parameter, or one whose value no chip has.
        """
        _refuse_unknown(Profile, changes)
        if isinstance(changes.get("energy"), (str, os.PathLike)):
            changes["energy"] = held(changes["energy"], Path(), self.name)
        parameters = [name for name in changes if name not in ("name", "description", "cores")]
        sources = {**self.sources, **dict.fromkeys(parameters, "changed by the user")}
        return dataclasses.replace(self, **{"sources": sources, **changes})

    def unknown(self) -> list[str]:
        """The parameters that are None, each with its reason."""
        names = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is None and f.name in self.sources]
        return [f"{name}: {self.sources[name]}" for name in names]

    def energy_table(self) -> EnergyTable | None:
        """The table that `energy` is or names, or None. Raises ValueError where there is none of that name.

        Examples:
            >>> emulator.profile.load("odin-like").energy_table().synaptic_operation_pj
            12.7
        """
        return None if self.energy is None else loaded(self.energy, self.name)

    def to_dict(self) -> dict[str, Any]:
        """All parameters as JSON can hold them; `from_dict` takes them back. Of an energy table in a file the figures."""
        return dataclasses.asdict(self) | {"energy": written(self.energy, self.name)}

    def to_toml(self) -> str:
        """The profile as the text of a TOML file, with all sources ("none given" where there is none); `load` reads it.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> mine = emulator.profile.load("generic8").replace(name="mine", weight_bits=6)
            >>> path = Path(tempfile.mkdtemp(), "my-chip.toml")
            >>> _ = path.write_text(mine.to_toml(), encoding="utf-8")
            >>> emulator.profile.load(path) == mine
            True
        """
        return dumps(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Profile:
        """The profile out of `to_dict`. Raises ValueError naming an unknown, missing or impossible parameter."""
        if not isinstance(values, dict):
            raise ValueError(f"profile must be a table of parameters, got {values!r}")
        _refuse_unknown(cls, values)
        made = {"step_nanoseconds": None, "cores": (), **values}
        refuse_absent(made, cls, f"profile {made.get('name', 'without a name')}: ")
        cores = made["cores"]
        if isinstance(cores, (list, tuple)) and all(isinstance(core, dict) for core in cores):
            made["cores"] = tuple(_core(core, f"cores[{n}]", made["name"]) for n, core in enumerate(cores))
        if isinstance(made["energy"], dict):
            made["energy"] = loaded(made["energy"], made["name"])
        return cls(**made)


def _core(values: dict[str, Any], at: str, profile: str) -> CoreKind:
    _refuse_unknown(CoreKind, values, f"{at}.")
    refuse_absent(values, CoreKind, f"profile {profile}: {at}.")
    try:
        return CoreKind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"profile {profile}: {at}: {error}") from error


def _refuse_unknown(kind: type, values: Mapping[str, Any], prefix: str = "") -> None:
    names = [f.name for f in dataclasses.fields(kind)]
    refuse_unknown(values, names, prefix, missing="profile has no parameter")


def load(profile: str | os.PathLike[str] | Profile) -> Profile:
    """A profile by name (`generic8`, `loihi-like`, `odin-like`, `speck-like`), from a TOML file, or as it is.

    In the file `name` is a text, `description` too if it is given, and each parameter is a table with its `source` and
    one of `value`, `unknown = true`, or `low` and `high` together; `[[cores]]` are the kinds of core. Its energy table
    is read as well. Raises ValueError naming the file and the parameter that is wrong, or the profiles that there are.

    Examples:
        >>> emulator.profile.load("generic8").weight_bits
        8
    """
    if isinstance(profile, Profile):
        return profile
    values = toml.read("profile", "firstspike.emulator.program", "profiles", profile)
    try:
        made = parse(values)
        if isinstance(made.get("energy"), str):
            made["energy"] = held(made["energy"], Path(profile).parent, made["name"])
        found = Profile.from_dict(made)
    except ValueError as error:
        raise ValueError(f"profile {os.fspath(profile)}: {str(error).removeprefix('profile ')}") from error
    return found


def names() -> list[str]:
    """The profiles that ship.

    Examples:
        >>> emulator.profile.names()
        ['generic8', 'loihi-like', 'odin-like', 'speck-like']
    """
    return toml.names("firstspike.emulator.program", "profiles")


def table() -> pd.DataFrame:
    """One column per profile that ships: what it takes of a net; "unknown" where no source gives a limit.

    Examples:
        >>> emulator.profile.table().columns.tolist()
        ['', 'generic8', 'loihi-like', 'odin-like', 'speck-like']
    """
    found = [load(name) for name in names()]
    return pd.DataFrame({p.name: _takes(p) for p in found}).rename_axis("").reset_index()


def _takes(p: Profile) -> dict[str, str]:
    def known(value: object, none: str = "unknown") -> str:
        return none if value is None else str(value)

    def cores(name: str) -> str:
        sizes = sorted({getattr(kind, name) for kind in p.cores if getattr(kind, name) is not None})
        return ", ".join(f"{size:,}" for size in sizes) or "no limit known"

    unique = {"neuron": "one per neuron", "group": f"{p.threshold_groups} per core", "layer": "one per layer"}
    signs = {"signed": "any", "even": "any, even values", "source": "one sign per source"}
    return {
        "weight bits": str(p.weight_bits),
        "signs of weights": signs[p.weight_sign],
        "thresholds": unique[p.thresholds],
        "biases": "no" if p.bias_bits == 0 else "unknown, refused" if p.bias_bits is None else f"{p.bias_bits} bits",
        "leak (decay < 1)": f"{p.decay_bits} bits" if p.decay_bits else "no",
        "membrane bits": str(p.membrane_bits),
        "fires at": "V >= theta" if p.fire == "ge" else "V > theta",
        "update": p.update,
        "most steps": known(p.single_spike_steps, "254"),
        "fan-in of a neuron, at most": known(p.max_fan_in, "no limit known"),
        "kernel, at most": known(p.max_kernel, "no limit known"),
        "strides": "no limit known" if p.strides is None else ", ".join(map(str, p.strides)),
        "average pools": "no limit known" if p.pools is None else ", ".join(map(str, p.pools)),
        "residual blocks": "no" if p.convolution_cores or p.weight_sign == "source" else "yes",
        "layers per core": "one" if p.convolution_cores else "any",
        "cores": str(sum(kind.count for kind in p.cores)),
        "neurons per core": cores("neuron_entries" if p.convolution_cores else "neurons"),
        "axons into a core": cores("axons_in"),
        "weight memory per core": cores("kernel_entries") + " entries"
        if p.convolution_cores
        else cores("synapse_bits") + " bits",
    }
