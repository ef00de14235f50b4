"""Rounding in training: the quantisers that `qat.prepare` gives layers, so that they train with the integers of `quantize`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import scales


class Quantizer(nn.Module):
    """Base of the modules that round a layer's weight and bias as `quantize` will: the `quantizer` of a layer (`nn.Synapses`).

    made_for: the settings that `quantize` must have, by name. scale: the real value of an integer weight of 1, [O] or [1].
    """

    made_for: dict[str, Any]
    scale: Tensor

    def extra_repr(self) -> str:
        """The settings, for print."""
        return ", ".join(f"{name}: {value}" for name, value in self.made_for.items())


class FakeQuantize(Quantizer):
    """Rounds weight and bias of a layer that runs step by step to the integers of `quantize` times a scale.

    The gradient passes the rounding unchanged, and stops where a weight is clipped. scale: float32 [O] or [1], learned
    in logarithm (gradient of the rounding error as in Esser et al. 2020, LSQ, without its gradient scale).

    Without a leak, and on cores that test after the events of a step, the result equals the integer network exactly: with
    `reached` the integer threshold, the integers are multiplied by threshold / (reached - 1/2), so that the float network
    fires where the integer one does. finest: the scale that clips no shortcut of a residual block.
    """

    def __init__(
        self, scale: Tensor, bits: int, step: int, threshold: float | None, pool: int, finest: float, without_bias: bool
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.log())
        self.bits, self.step, self.threshold, self.pool, self.finest = bits, step, threshold, pool, finest
        self.without_bias = without_bias
        granularity = "channel" if len(scale) > 1 else "tensor"
        self.made_for = {"bits": bits, "step of weights": step, "without biases": without_bias, "granularity": granularity}

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The real value of an integer weight of 1, [O] or [1]."""
        return self.log_scale.exp().clamp(min=self.finest)

    def value(self) -> Tensor:
        """The value that an integer of 1 has in the float network that equals the integer one, [O] or [1]."""
        scale = self.scale
        if self.threshold is None:
            return scale
        with torch.no_grad():
            exact = [self._exact(self.threshold, s) for s in scale.detach().double().tolist()]
            ratio = torch.tensor(exact, dtype=scale.dtype, device=scale.device) / scale
        return scale * ratio

    def _exact(self, threshold: float, scale: float) -> float:
        return threshold * self.pool**2 / (scales.exact_ceil(threshold, scale, self.pool**2) - 0.5)

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and bias that the cores will use, in the shapes of `weight` [O, ...] and `bias` [O]."""
        low, high = scales.weight_limits(self.bits)
        shape = (-1, *[1] * (weight.dim() - 1))
        value, scale = self.value(), self.scale
        exact = weight.detach().double() / (scale.detach().double() * self.step).view(shape)
        q = _as_integers((weight / (scale * self.step).view(shape)).clamp(low, high), exact.round().clamp(low, high))
        rounded = q * (value * self.step).view(shape)
        if bias is None:
            return rounded, None
        if self.without_bias:
            return rounded, bias * 0
        area = self.pool**2
        integers = (bias.detach().double() * area / scale.detach().double()).round()
        return rounded, _as_integers(bias * area / scale, integers) * value / area

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """The scale of a shortcut, [1] or [M], that the cores will use: [M], or [O] or [1] as the weight's scales are."""
        assert self.threshold is not None  # a block ends in a layer that fires
        scale, value = self.scale, self.value()
        if len(shortcut) > 1:
            scale, value = (x if len(x) == 1 else x[: len(shortcut)] for x in (scale, value))
        area, (one, unit) = self.pool**2, torch.broadcast_tensors(shortcut.detach().double(), scale.detach().double())
        integers = scales.shortcut_integers(one.cpu().numpy(), unit.cpu().numpy(), self.threshold, self.pool, self.step)
        return _as_integers(shortcut * area / scale, torch.from_numpy(integers)) * value / area


class PixelQuantize(FakeQuantize):
    """Rounds weight, bias and current of a directly coded layer to those of `PixelLayer`, for data of pixels / 255.

    most: the largest threshold in the unit of currents.
    """

    def __init__(self, scale: Tensor, bits: int, threshold: float, most: int) -> None:
        super().__init__(scale, bits, 1, threshold, 1, 1e-12, False)
        self.most, self.made_for = most, {"pixel bits": bits, "largest pixel threshold": most}

    def _exact(self, threshold: float, scale: float) -> float:
        coarse = scales.coarse_bits(threshold, scale, self.most)
        reached = -(-scales.exact_ceil(threshold, scale, 255) >> coarse)
        return threshold * 255 / ((reached - 0.5) * float(1 << coarse))

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As `FakeQuantize.forward`; biases are integers in the unit of the sums."""
        rounded, _ = super().forward(weight, None)
        if bias is None:
            return rounded, None
        integers = (bias.detach().double() * 255 / self.scale.detach().double()).round()
        return rounded, _as_integers(bias * 255 / self.scale, integers) * self.value() / 255

    def round_current(self, current: Tensor) -> Tensor:
        """The currents [B, O, ...] that the neurons get."""
        shape = (-1, *[1] * (current.dim() - 2))
        unit, scale = self.value().detach().double() / 255, self.scale.detach().double()
        assert self.threshold is not None
        coarse = [scales.coarse_bits(self.threshold, s, self.most) for s in scale.tolist()]
        power = torch.tensor([2.0**bits for bits in coarse], dtype=torch.float64, device=unit.device)
        sums = (current.detach().double() / unit.view(shape)).round()
        rounded = (sums / power.view(shape) + 0.5).floor() * (power * unit).view(shape)
        return current + (rounded.to(current) - current.detach())


class WindowedQuantize(Quantizer):
    """Rounds weight and bias of a layer of windows, and its shortcut, to the integers of `quantize` times its unit.

    The unit of membranes follows the layer's clip. Where the layer fires, a bias becomes the middle between the two integers
    next to it: as sums are integers, the float net's neurons decide as the integer ones, and as with the bias itself. The
    gradient passes the rounding unchanged, and stops where a weight is clipped.

    layer : whose quantizer it is. bits, step : of weights. rise : of the membrane per step, whole numbers [O], zeros of a
    readout. unit : of a readout's membrane. share : a weight divided by it belongs to one level of one pooled neuron: avg_pool^2
    times the steps of the input's window. shortcut_share : the same for the shortcut, 0 without one.
    """

    _rise: Tensor
    unit: Tensor

    def __init__(
        self, layer: nn.Module, bits: int, step: int, rise: NDArray[np.int64], unit: float, share: int, shortcut_share: int
    ) -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple, so that it does not become a submodule
        self.bits, self.step, self.share, self.shortcut_share = bits, step, share, shortcut_share
        self.made_for = {"bits": bits, "step of weights": step}
        self.register_buffer("_rise", torch.from_numpy(rise).double())  # floats can be averaged (`AveragedModel`)
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float64))

    @property
    def rise(self) -> Tensor:
        """Of the membrane per step, whole numbers in float64 [O]."""
        return self._rise.round()

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and bias that the cores will use, in the shapes of `weight` [O, ...] and `bias` [O]."""
        assert bias is not None
        unit, half, exact = self.scale, self.rise / 2, bias.detach().double()
        position = exact / unit + half
        rounded = ((position.floor() + 0.5 if self._layer[0].fires else position.round()) - half) * unit
        return self._rounded(weight, unit * self.share), bias + (rounded - exact).to(bias)

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """The weight [O, ...] of a shortcut that the cores will use."""
        return self._rounded(shortcut, self.scale * self.shortcut_share)

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The real value of 1 in a membrane, float64 [O]."""
        layer: Any = self._layer[0]
        return layer.clip.detach().double() / (layer.steps * self.rise) if layer.fires else self.unit.expand(len(self._rise))

    def _rounded(self, weight: Tensor, unit: Tensor) -> Tensor:
        column = (unit * self.step).view(-1, *[1] * (weight.dim() - 1))
        rounded: Tensor = _Rounded.apply(weight, column, *scales.weight_limits(self.bits))  # type: ignore[no-untyped-call]
        return rounded


class _Rounded(torch.autograd.Function):
    """`column` times the whole numbers of weight / column, in float64, within the limits; in the weight's type.

    The gradient passes unchanged where the weight lies within the limits, and is zero elsewhere. One function makes fewer
    passes over the weights than autograd's steps would.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, column: Tensor, low: int, high: int) -> Tensor:
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((weight >= (low * column).to(weight)) & (weight <= (high * column).to(weight)))
        return (weight / column).round_().clamp_(low, high).mul_(column).to(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None


def _as_integers(x: Tensor, integers: Tensor) -> Tensor:
    """The values of `integers`, with the gradient of x."""
    return x + (integers.to(x) - x).detach()
