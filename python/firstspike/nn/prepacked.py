"""Layers as they are now, for inference on the CPU: weights packed once, and one call for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .. import _checks, _geometry
from ..ops.prepacked import PrepackedLayer, PrepackedLayers
from ..spikes import SpikeTimes, from_sites, to_sites
from .integrate import Integrate
from .ttfs import TTFSConv2d, TTFSLinear


def can_prepack(layer: nn.Module) -> TypeGuard[TTFSConv2d | TTFSLinear | Integrate]:
    """Whether `Prepacked` takes a layer: these very classes, for one derived from them may do something else."""
    return type_before_parametrizations(layer) in (TTFSConv2d, TTFSLinear, Integrate)


class Prepacked(nn.Module):
    """Some layers one after another, without gradients: the same bits in less time, above all for few samples.

    A layer turns its weights for its kernel at every call, which for one sample is most of the work; here that is done once, and
    all layers are one call, without hooks. What becomes of the layers later is not seen: a copy of their weights is held, and no
    parameters.

    layers: `TTFSConv2d`, `TTFSLinear` and, at the end, perhaps `Integrate`, on the CPU; dropout is off. input_shape: of a
    sample, (N,) or (C, H, W). Raises ValueError or TypeError naming what does not fit.
    """

    def __init__(self, layers: Iterable[nn.Module], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(input_shape) not in (1, 3):
            raise ValueError(f"input_shape must be (neurons,) or (channels, height, width), got {input_shape!r}")
        shape = self.input_shape = tuple(_checks.integer("input_shape", size, 1) for size in input_shape)
        packed: list[PrepackedLayer] = []
        for number, layer in enumerate(layers):
            if not can_prepack(layer) or (packed and not packed[-1].fires):
                raise TypeError(
                    "layers must be TTFSConv2d or TTFSLinear, the last one perhaps Integrate, "
                    f"got {type(layer).__name__} as number {number}"
                )
            packed.append(_packed(layer, shape))
            shape = _out_shape(packed[-1])
        if len({layer.geometry.steps for layer in packed}) != 1:
            raise ValueError(
                f"layers must be at least one, all of the same steps, got {[x.geometry.steps for x in packed]}"
            )
        self.steps, self.output_shape, self._fires = packed[-1].geometry.steps, shape, packed[-1].fires
        self._layers = PrepackedLayers(packed)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, spikes: SpikeTimes) -> SpikeTimes | Tensor:
        """Spike times [B, *output_shape] of `spikes` [B, *input_shape], or the membrane [T, B, O] of an `Integrate`."""
        if not isinstance(spikes, SpikeTimes):
            raise TypeError(f"spikes must be SpikeTimes, got {type(spikes).__name__}")
        if spikes.steps != self.steps or spikes.shape[1:] != self.input_shape or spikes.device.type != "cpu":
            raise ValueError(
                f"spikes must have shape [batch, {', '.join(map(str, self.input_shape))}] and steps = {self.steps} and lie "
                f"on the CPU, got {spikes} on {spikes.device}"
            )
        out = self._layers(to_sites(spikes.times))
        if not self._fires:
            return out.flatten(2)
        return SpikeTimes._trusted(from_sites(out, (len(spikes), *self.output_shape)), spikes.steps)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.input_shape} to {self.output_shape}, steps={self.steps}"


def _packed(layer: TTFSConv2d | TTFSLinear | Integrate, shape: tuple[int, ...]) -> PrepackedLayer:
    with torch.no_grad():
        weight, bias = layer.effective_weight_and_bias()
    if weight.device.type != "cpu":
        raise ValueError(f"layers must be on the CPU, got one on {weight.device}; net.cpu() brings them there")
    spikes = (1, *shape)
    pool = _geometry.pool_of(spikes, layer.avg_pool)
    if isinstance(layer, TTFSConv2d):
        if len(shape) != 3:
            raise ValueError(f"layers must fit together: a convolution needs (channels, height, width), got {shape}")
        stride, padding = (layer.stride, layer.stride), (layer.padding, layer.padding)
        geometry = _geometry.convolution(spikes, weight, stride, padding, pool, layer.steps)
    else:
        geometry = _geometry.linear(spikes, weight, pool, layer.steps)
    threshold = None if isinstance(layer, Integrate) else layer.threshold
    neuron = (threshold or 0.0, layer.decay, 0.0, 1.0)
    return PrepackedLayer(geometry, neuron, threshold is not None, weight, bias if bias is None else bias.contiguous())


def _out_shape(layer: PrepackedLayer) -> tuple[int, ...]:
    _, height, width, channels = layer.geometry.out_shape
    return (channels, height, width) if layer.weight.dim() == 4 else (channels,)
