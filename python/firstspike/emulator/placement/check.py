"""Which nets a chip takes: all refusals of quantising and placing a net at once, each with a remedy."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..program import profile as profiles
from ..program.profile import Profile
from ..program.program import Refusal
from ..quantization.quantizer import Quantizer, net_to_read
from ..quantization.scales import CannotQuantize
from .cores import refusals
from .placer import Placement, place


@dataclass(frozen=True)
class Finding:
    """One reason why a chip refuses a net. layer: its label, "net" for the complete net. remedy: a setting that avoids it."""

    layer: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """The result of `check`. profile: its name. cores_used, cores_available: of the placement, None without one.

    Examples
    --------
    >>> found = emulator.check(models.mlp("64-32-10", steps=8), "generic8")
    >>> found.fits, found.findings, found.cores_used
    (True, [], 1)
    """

    profile: str
    findings: list[Finding]
    cores_used: int | None
    cores_available: int | None

    @property
    def fits(self) -> bool:
        """True if the chip takes the net."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The fields and `fits` as JSON values."""
        return asdict(self) | {"fits": self.fits}

    def text(self) -> str:
        """One line per finding, or one line that says that the net fits."""
        if self.fits:
            return f"{self.profile}: fits, {self.cores_used} of {self.cores_available} cores\n"
        lines = [f"  {f.layer}: {f.problem}; {f.remedy}" for f in self.findings]
        return f"{self.profile}: does not fit\n" + "\n".join(lines) + "\n"


def check(model: nn.Module, profile: str | os.PathLike[str] | Profile = "generic8") -> Check:
    """Collect the refusals of `quantize` and `place`: biases, leaks, layers, steps, and what cores cannot hold.

    Layers after one that no core holds are not looked at. Parameters are as in `quantize`; the net may be untrained, a layer
    with biases counts as one that uses them.

    Examples
    --------
    >>> net = models.build("784-400-10", input_shape=(784,), steps=8, bias=False)
    >>> print(emulator.check(net, "odin-like").text(), end="")
    odin-like: does not fit
      1:Integrate: axons in for one neuron: required 400, available 256; make the layer before it smaller, or pool more
    """
    target = profiles.load(profile)
    refused: list[CannotQuantize] = []
    found: list[Refusal] = []
    placement: Placement | None = None
    try:
        program = Quantizer(target, found=refused).program(net_to_read(model), "network")
        if program is not None:
            found += refusals(program)
            placement = None if found else place(program)
    except Refusal as error:
        found.append(error)
    findings = [Finding(one.layer, one.problem, one.remedy) for one in (*refused, *found)]
    if placement is None:
        return Check(target.name, findings, None, None)
    return Check(target.name, findings, placement.cores_used, placement.available)
