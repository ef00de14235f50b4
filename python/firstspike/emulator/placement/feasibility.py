"""What a chip will refuse of a net, before it is trained, and which settings avoid it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ... import nn as fs
from ..._base.modules import copy_to_read
from ...models import TTFSNet, as_net
from ...nn.residual import fold_layers
from ..program import profile as profiles
from ..program.profile import Profile
from ..quantization import scales
from ..quantization.fake_quantize import FakeQuantize, check_prepared_for, prepared_bits
from ..quantization.from_modules import LayersDoNotFit, core_layers
from ..quantization.quantizer import quantize
from .errors import DoesNotFit
from .placer import place

_CORE_LAYERS = (fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate)
_PREPARE_AGAIN = "call qat.prepare with this profile"


@dataclass(frozen=True)
class Finding:
    """One reason why a chip refuses a net. layer: its label, "net" for the whole. remedy: a setting that avoids it."""

    layer: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """What `check` found. profile: its name. cores_used, cores_available: of the placement, None without one.

    Examples:
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
        """Whether the chip takes the net."""
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
    """What a chip refuses of a net: biases, leaks, layers, steps, and what its cores cannot hold.

    model: trained or not; its structure counts, not its weights. profile: as in `quantize`. The placement is tried with
    what the chip lacks left out, so that all findings come at once; layers after one that no core holds are not looked at.
    Raises ValueError or TypeError naming a bad argument, such as a net in which a layer does not take what the one
    before gives.

    Examples:
        >>> from firstspike import emulator, models
        >>> net = models.build("784-400-10", input_shape=(784,), steps=8)
        >>> print(emulator.check(net, "odin-like").text(), end="")
        odin-like: does not fit
          1:Integrate: it has biases, the chip has none; set bias = false
          1:Integrate: axons in for one neuron: 400 are needed, 256 are available; make the layer before it smaller, or pool more
    """
    model = as_net(model, name="model")
    target = profiles.load(profile)
    prepared = _prepared(model, target)
    findings = _steps(model, target) + prepared
    layers = core_layers(model)
    for one in layers:
        findings += _layer(one.name, one.module, target)
    if not layers:
        findings.append(Finding("net", "its only layer runs on the host", "add a layer to spec"))
    if any(not isinstance(one.module, _CORE_LAYERS) for one in layers) or not layers:
        return Check(target.name, findings, None, None)
    sign = "signed" if target.weight_sign == "source" else target.weight_sign
    lenient = target.replace(single_spike_steps=None, weight_sign=sign)
    try:
        placement = place(quantize(_without(model, target, unprepared=bool(prepared)), lenient, biases="drop"))
    except DoesNotFit as error:
        findings.append(
            Finding(
                error.layer,
                f"{error.resource}: {error.required} are needed, {error.available} are available",
                _remedy(error.resource),
            )
        )
        return Check(target.name, findings, None, None)
    except LayersDoNotFit:
        raise
    except ValueError as error:
        findings.append(Finding("net", str(error), _remedy_of_error(str(error))))
        return Check(target.name, findings, None, None)
    return Check(target.name, findings, placement.cores_used, placement.available)


def _steps(model: TTFSNet, profile: Profile) -> list[Finding]:
    limit, found = profile.single_spike_steps, []
    if profile.single_spike == "refractory" and limit is not None and model.steps > limit:
        problem = f"single spikes need a refractory period of {model.steps} steps, {limit} are available"
        found.append(Finding("net", problem, f"set steps = {limit} or less"))
    return found


def _prepared(model: TTFSNet, profile: Profile) -> list[Finding]:
    try:
        check_prepared_for(model, profile, scales.checked_bits(prepared_bits(model), profile))
    except ValueError as error:
        return [Finding("net", str(error), _PREPARE_AGAIN)]
    return []


def _remedy_of_error(text: str) -> str:
    if "qat.prepare" in text:
        return _PREPARE_AGAIN
    return "use fewer steps" if "steps" in text else "see docs/emulator.md"


def _layer(name: str, layer: nn.Module, profile: Profile) -> list[Finding]:
    if not isinstance(layer, _CORE_LAYERS):
        kind = type(layer).__name__
        remedy = 'set pooling = "avg"' if "Pool" in kind else "use linear, convolutional and integrating layers"
        return [Finding(name, f"{kind} cannot run on the cores", remedy)]
    found = []
    if layer.bias is not None and not profile.bias_bits:
        has = "has none" if profile.bias_bits == 0 else "is not known to have any"
        found.append(Finding(name, f"it has biases, the chip {has}", "set bias = false"))
    if (obstacle := scales.decay_obstacle(layer.decay, profile)) is not None:
        found.append(Finding(name, *obstacle))
    if profile.weight_sign == "source":
        found.append(
            Finding(name, "a source must have weights of one sign", "no setting gives that; choose another chip")
        )
    return found


def _without(model: TTFSNet, profile: Profile, *, unprepared: bool) -> TTFSNet:
    """A copy of the net without the leaks that the chip cannot hold, and with weights that no rounding makes equal.

    unprepared: leave out what `qat.prepare` fixed as well, since the chip rounds otherwise.
    """
    made = copy_to_read(model).cpu()
    draw = torch.Generator().manual_seed(0)
    if unprepared or prepared_bits(made) is None:
        fold_layers(made)
    for layer in (one.module for one in core_layers(made)):
        if isinstance(layer, _CORE_LAYERS):
            if scales.decay_obstacle(float(layer.decay), profile) is not None:
                layer.decay = 1.0
            with torch.no_grad():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw))
                if isinstance(layer.quantizer, FakeQuantize):  # from end to end of its integers
                    largest = layer.quantizer.scale * 2 ** (layer.quantizer.bits - 2)
                    layer.weight.mul_(largest.view(-1, *[1] * (layer.weight.dim() - 1)))
                if layer.bias is not None:
                    layer.bias.zero_()
    return made


def _remedy(resource: str) -> str:
    """The setting that avoids a lack of some resource."""
    for word, remedy in (
        ("shortcuts", "leave residual blocks out of spec"),
        ("kernel side", "use smaller kernels in spec"),
        ("stride", "use a stride that the chip has"),
        ("padding", "use less padding"),
        ("pool", "use a pool that the chip has"),
        ("features", "use fewer channels in spec"),
        ("output side", "pool or stride more in spec"),
        ("kernel entries", "use fewer inputs or channels in spec: pool more before a fully connected layer"),
        ("neuron entries", "use fewer channels, or pool more"),
        ("thresholds", 'quantise with one scale per "tensor"'),
        ("axons in", "make the layer before it smaller, or pool more"),
        ("fan-in", "make the layer before it smaller, or use smaller kernels"),
        ("axons out", "make the layer smaller"),
        ("synapse bits", "make the layer smaller, or use fewer weight bits"),
        ("a core of its own", "use fewer layers"),
        ("layers that it feeds", "leave residual blocks out of spec"),
    ):
        if word in resource:
            return remedy
    return "make the layers smaller"
