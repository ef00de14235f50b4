"""The ReLU counterpart with activations, and where asked weights, of few bits: in Brevitas, and as LSQ in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from firstspike import models

from ..workloads import Workload

_CLIP = 3.0  # first range of activations, in deviations of the normalised currents


def relu_net(workload: Workload, seed: int) -> nn.Module:
    """The ReLU counterpart with batch normalisation, whose modules are then replaced."""
    generator = torch.Generator().manual_seed(seed)
    return models.relu_counterpart(workload.spec, input_shape=workload.input_shape, normalization=True, generator=generator)


def brevitas_net(workload: Workload, bits: int, weight_bits: int | None = None, seed: int = 0) -> nn.Module:
    """Brevitas: learned scales from a first range, whose statistics cost no time; float weights, or one scale per tensor."""
    import brevitas.nn as qnn  # needed to measure, not to show a record
    from brevitas.quant import Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit

    options: dict[str, Any] = {"weight_quant": None}
    if weight_bits is not None:
        options = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": weight_bits}

    def made(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.ReLU):
            return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloatMaxInit, bit_width=bits, max_val=_CLIP)  # type: ignore[no-any-return]
        if isinstance(layer, nn.Linear):
            product = qnn.QuantLinear(layer.in_features, layer.out_features, bias=True, **options)
        else:
            assert isinstance(layer, nn.Conv2d)
            sizes = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
            product = qnn.QuantConv2d(layer.in_channels, layer.out_channels, bias=True, **sizes, **options)
        product.load_state_dict(layer.state_dict(), strict=False)
        return product  # type: ignore[no-any-return]

    return _replaced(relu_net(workload, seed), made)


def lsq_net(workload: Workload, bits: int, weight_bits: int | None = None, seed: int = 0) -> nn.Module:
    """LSQ (Esser et al. 2020) in plain torch: learned step sizes with scaled gradients."""

    def made(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.ReLU):
            return LsqReLU(bits)
        if weight_bits is not None:
            parameter = LsqWeight(weight_bits, layer.get_parameter("weight"))
            torch.nn.utils.parametrize.register_parametrization(layer, "weight", parameter)
        return layer

    return _replaced(relu_net(workload, seed), made)


def _replaced(net: nn.Module, make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The net with what `make` gives in place of its products and ReLUs."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear | nn.Conv2d | nn.ReLU):
                setattr(parent, name, make(child))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _rounded(x: Tensor, step: Tensor, low: int, high: int, entries: int) -> Tensor:
    """`step` times the whole numbers of x / step within the bounds; the gradient of `step` is scaled as in LSQ."""
    factor = 1 / math.sqrt(entries * high)
    scale = (step * (1 - factor)).detach() + step * factor
    steps = (x / scale).clamp(low, high)
    return (steps + (steps.round() - steps).detach()) * scale


class LsqReLU(nn.Module):
    """A ReLU with 2^bits levels and a learned step."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.high = (1 << bits) - 1
        self.step = nn.Parameter(torch.tensor(_CLIP / self.high))

    def forward(self, x: Tensor) -> Tensor:
        """Levels times the step."""
        return _rounded(x, self.step, 0, self.high, x[0].numel())


class LsqWeight(nn.Module):
    """Rounds a weight to `bits` bits with a learned step."""

    def __init__(self, bits: int, weight: Tensor) -> None:
        super().__init__()
        self.low, self.high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self.step = nn.Parameter(2 * weight.detach().abs().mean() / math.sqrt(self.high))

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight."""
        return _rounded(weight, self.step, self.low, self.high, weight.numel())
