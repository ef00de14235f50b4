"""Layers one after another that run as one call in training: the same bits in less time (`firstspike.ops.chain`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import Geometry, layer_geometry
from .._base.modules import HOOKS_OF_ALL_MODULES
from ..functional import layer as layer_call
from ..ops import chain as _ops
from ..ops.chain import Stage
from ..spikes import SpikeTimes
from .integrate import Integrate
from .normalization import WeightNormalization
from .ttfs import TTFSConv2d, TTFSLinear

Chained = TTFSLinear | TTFSConv2d | Integrate


def obstacle(layer: nn.Module) -> str | None:
    """Why a layer runs as a call of its own in training, whatever its input is; None where it may be part of a chain."""
    if type(layer) not in (TTFSLinear, TTFSConv2d, Integrate):  # a class derived from them may do something else
        return f"{type(layer).__name__} is always a call of its own"
    own, weight, normal = layer.__dict__, layer.weight, layer.normalization
    if is_observed(own) or (isinstance(normal, nn.Module) and is_observed(normal.__dict__)):
        return "it has hooks, or a forward of its own"
    if normal is not None and type(normal) is not WeightNormalization:
        return "its normalisation is not nn.WeightNormalization"
    if layer.quantizer is not None:
        return "it has a quantizer"
    if not (isinstance(weight, Tensor) and weight.requires_grad):
        return "its weight is not trained"
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return f"its weight is {weight.dtype} on {weight.device}, not float32 on the CPU"
    if type(layer) is not Integrate and not own["_surrogate"].sparse:
        return "its surrogate is dense"
    return None


def chains(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Layers in order, in groups: one of more than one layer may run as one call."""
    groups: list[list[nn.Module]] = []
    open_end = False  # whether the next layer may join the last group
    for layer in layers:
        fits = obstacle(layer) is None
        if fits and open_end:
            groups[-1].append(layer)
        else:
            groups.append([layer])
        open_end = fits and type(layer) is not Integrate
    return groups


def run_layers(layers: Sequence[nn.Module], signal: Any) -> Any:
    """What comes out of layers one after another; in training each chain is one call where nobody looks at the single ones."""
    apart = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    for group in [[layer] for layer in layers] if apart else chains(layers):
        if len(group) > 1 and isinstance(signal, SpikeTimes) and _fits(group, signal):
            signal = _run_as_one(group, signal)
        else:
            for layer in group:
                signal = layer(signal)
    return signal


def _fits(layers: Sequence[Any], spikes: SpikeTimes) -> bool:
    """Whether these layers may be one call on these spikes; where their shapes or steps are wrong, the layers say so."""
    maps, tensors = len(spikes.shape) == 4, [spikes.times, spikes._anchor]
    for layer in layers:
        is_convolution = type(layer) is TTFSConv2d
        if layer.steps != spikes.steps or (is_convolution and not maps):
            return False
        maps = is_convolution
        tensors += layer.weight, layer.gamma, layer.bias
    return len(spikes.shape) in (2, 4) and _ops.runs_as_one(*tensors)


def _run_as_one(layers: Sequence[Any], spikes: SpikeTimes) -> SpikeTimes | Tensor:
    stages: list[Stage] = []
    parameters: list[Tensor | None] = []
    shape: tuple[int, ...] = spikes.shape
    for layer in layers:
        normal, weight, gamma, bias = _parameters(layer)
        parameters += weight, gamma, checks.bias(bias, len(weight))
        checks.float32("weight", weight, 4 if isinstance(layer, TTFSConv2d) else 2)
        stages.append(_stage(layer, layer_geometry(layer, shape, weight), normal))
        batch, height, width, outputs = stages[-1].geometry.out_shape
        shape = (batch, outputs, height, width) if isinstance(layer, TTFSConv2d) else (batch, outputs)
    result = _ops.run_chain(stages, layer_call._input(spikes), parameters)
    if not stages[-1].fires:
        return result[0].flatten(2)
    return layer_call._fired(result, shape, spikes.steps, True)


def _parameters(layer: Chained) -> tuple[WeightNormalization | None, Tensor, Tensor | None, Tensor | None]:
    """(normalisation, weight, gamma, bias): with one the weight is still to be normalised and multiplied with gamma."""
    outputs = len(layer.weight)
    gamma: Tensor | None = layer.gamma
    bias: Tensor | None = layer.bias
    if layer.normalization is None or getattr(layer, "theta", None) is not None:
        weight, bias = layer.effective_weight_and_bias()
        return None, weight, None, bias
    if gamma is not None:
        gamma = layer_call._gammas(gamma, layer.weight)
    if bias is not None and len(bias) != outputs:
        bias = bias.expand(outputs)
    return layer.normalization, layer.weight, gamma, bias  # type: ignore[return-value]  # see `obstacle`


def _stage(layer: Chained, geometry: Geometry, normal: WeightNormalization | None) -> Stage:
    fires = not isinstance(layer, Integrate)
    neuron = layer_call._neuron(**layer._neuron) if not isinstance(layer, Integrate) else (0.0, layer.decay, 0.0, 1.0)
    stage = Stage(geometry, neuron, fires)
    if normal is not None:
        stage = stage._replace(deviation=normal.deviation, per_output=normal.granularity == "channel")
    if layer.training and layer.dropout > 0:
        stage = stage._replace(dropped=layer.dropout, seed=torch.randint(1 << 62, (1,)))  # as `functional.dropout`
    return stage


def is_observed(own: dict[str, Any]) -> bool:
    """Whether a call of the module that has these attributes does more than its class's forward."""
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
        or any(HOOKS_OF_ALL_MODULES)
    )
