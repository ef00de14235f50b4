"""Layers as they are now, for inference on the CPU: weights packed once, and one call for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import from_sites, layer_geometry, to_sites
from ..ops.prepacked import PrepackedLayer, PrepackedLayers
from ..spikes import SpikeTimes
from .ttfs import Integrate, TTFSConv2d, TTFSLinear

KINDS = (TTFSConv2d, TTFSLinear, Integrate)


def can_prepack(layer: nn.Module) -> TypeGuard[TTFSConv2d | TTFSLinear | Integrate]:
    """Say whether `Prepacked` takes a layer: these very classes, as others may do something else."""
    return type(layer) in KINDS


class Prepacked(nn.Module):
    """Layers one after another, without gradients: the same bits in less time, above all for few samples.

    A layer arranges its weights for its kernel at every call, which for one sample is most of the work. Here that is done once,
    and all layers are one call, without hooks or dropout. Later changes of the layers have no effect. A pickle holds the weights,
    and packs them again when it is loaded.

    Parameters
    ----------
    layers : `TTFSConv2d`, `TTFSLinear` and possibly `Integrate` at the end, on the CPU.
    input_shape : of a sample, (N,) or (C, H, W).

    Examples
    --------
    >>> layers = [nn.TTFSLinear(6, 5, steps=8), nn.Integrate(5, 3, steps=8)]
    >>> x = encode.latency(torch.rand(2, 6), steps=8)
    >>> torch.equal(nn.Prepacked(layers, (6,))(x), layers[1](layers[0](x)))
    True
    """

    def __init__(self, layers: Iterable[nn.Module], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) not in (1, 3):
            raise ValueError(f"input_shape must be (neurons,) or (channels, height, width), got {checks.shown(input_shape)}")
        shape = self.input_shape = tuple(checks.integer("input_shape", size, 1) for size in input_shape)
        packed: list[PrepackedLayer] = []
        for number, layer in enumerate(checks.in_order("layers", layers, nn.Module, "layers")):
            name, got = f"layers[{number}]", f"got {type(layer).__name__}"
            if not can_prepack(layer):
                raise TypeError(f"{name} must be TTFSConv2d or TTFSLinear, or at the end Integrate, {got}")
            if packed and not packed[-1].fires:
                raise TypeError(f"{name} must not follow Integrate, which gives membranes, {got}")
            packed.append(_packed(layer, shape))
            shape = _out_shape(packed[-1])
        if len({layer.geometry.steps for layer in packed}) != 1:
            raise ValueError(f"layers must be at least one, all of the same steps, got {[x.geometry.steps for x in packed]}")
        self.steps, self.output_shape, self._fires = packed[-1].geometry.steps, shape, packed[-1].fires
        self._packed = packed
        self._layers = PrepackedLayers(packed)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, spikes: SpikeTimes) -> SpikeTimes | Tensor:
        """Return spike times [B, *output_shape] of `spikes` [B, *input_shape], or the membrane [T, B, O] of an `Integrate`."""
        checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
        if spikes.steps != self.steps or spikes.shape[1:] != self.input_shape or spikes.device.type != "cpu":
            raise ValueError(
                f"spikes must have shape [batch, {', '.join(map(str, self.input_shape))}] and steps = {self.steps} and lie "
                f"on the CPU, got {spikes} on {spikes.device}"
            )
        out = self._layers(to_sites(spikes.times))
        if not self._fires:
            return out.flatten(2)
        return SpikeTimes._trusted(from_sites(out, (spikes.shape[0], *self.output_shape)), spikes.steps)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_layers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._layers = PrepackedLayers(self._packed)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.input_shape} to {self.output_shape}, steps={self.steps}"


@torch.no_grad()
def _packed(layer: TTFSConv2d | TTFSLinear | Integrate, shape: tuple[int, ...]) -> PrepackedLayer:
    weight, bias = layer.effective_weight_and_bias()
    if weight.device.type != "cpu":
        raise ValueError(f"layers must be on the CPU, got one on {weight.device}; net.cpu() brings them there")
    if isinstance(layer, TTFSConv2d) and len(shape) != 3:
        raise ValueError(f"layers must fit together: a convolution needs (channels, height, width), got {shape}")
    geometry = layer_geometry(layer, (1, *shape), weight)
    fires = not isinstance(layer, Integrate)
    threshold = 0.0 if isinstance(layer, Integrate) else layer.neuron.threshold
    neuron = threshold, layer.decay, 0.0, 1.0, layer.synaptic_decay
    bias = None if bias is None else bias.clone(memory_format=torch.contiguous_format)
    return PrepackedLayer(geometry, neuron, fires, weight.clone(), bias)


def _out_shape(layer: PrepackedLayer) -> tuple[int, ...]:
    _, height, width, channels = layer.geometry.out_shape
    return (channels, height, width) if layer.weight.dim() == 4 else (channels,)
