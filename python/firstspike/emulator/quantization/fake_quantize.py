"""Straight-through rounding of a layer's weight and bias, as torch parametrizations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from . import scales


class FakeQuantize(nn.Module):
    """Rounds as a program's layer does; the gradient passes as if it did not, and stops where a weight is clipped.

    unit: float32 [O] or [1], learned in logarithm (the gradient of the rounding error, as in Esser et al. 2020, LSQ,
    without its gradient scale). The result stands for the integers exactly: with `reached` the integer threshold,
    codes are scaled by threshold / (reached - 1/2), so that the float network fires where the integer one does, half
    a unit away from any tie. A readout has no threshold: its codes are scaled by the unit.
    """

    def __init__(self, unit: Tensor, bits: int, step: int, threshold: float | None, pool: int, finest: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(unit.log())
        self.low, self.high = scales.weight_limits(bits)
        self.step, self.threshold, self.pool, self.finest = step, threshold, pool, finest

    @property
    def unit(self) -> Tensor:
        """What one unit of an integer weight stands for, [O] or [1]."""
        return self.log_scale.exp().clamp(min=self.finest)

    def value(self) -> Tensor:
        """What an integer of 1 stands for in the float network that equals the integer one."""
        unit = self.unit
        if self.threshold is None:
            return unit
        with torch.no_grad():
            reached = [scales.exact_ceil(self.threshold, float(u), self.pool**2) for u in unit.detach().double()]
            ratio = torch.tensor([self.threshold * self.pool**2 / (r - 0.5) for r in reached], dtype=unit.dtype) / unit
        return unit * ratio

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the cores will use, in the shape of `weight`."""
        shape = (-1, *[1] * (weight.dim() - 1))
        scaled = weight / (self.unit * self.step).view(shape)
        inside = scaled.clamp(self.low, self.high)
        codes = inside + (inside.round() - inside).detach()
        return codes * (self.value() * self.step).view(shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What an assignment stores: the weight as it is."""
        return weight


class FakeQuantizeBias(nn.Module):
    """Rounds a bias to the weights' grid; `absent` makes it 0, for a profile that has none."""

    def __init__(self, weight: FakeQuantize, absent: bool) -> None:
        super().__init__()
        self.rounding = [weight]  # in a list: its parameters belong to the weight
        self.absent = absent

    def forward(self, bias: Tensor) -> Tensor:
        """The bias that the cores will add, [O]."""
        if self.absent:
            return bias * 0
        rounding, area = self.rounding[0], self.rounding[0].pool ** 2
        codes = bias * area / rounding.unit
        codes = codes + (codes.round() - codes).detach()
        return codes * rounding.value() / area

    def right_inverse(self, bias: Tensor) -> Tensor:
        """What an assignment stores: the bias as it is."""
        return bias


def held_scale(module: nn.Module) -> NDArray[np.float64] | None:
    """The unit that quantisation-aware training holds for a layer, float64 [O] or [1]; None without."""
    if parametrize.is_parametrized(module, "weight"):
        lists: Any = module.parametrizations
        last = lists["weight"][-1]
        if isinstance(last, FakeQuantize):
            return last.unit.detach().double().numpy()
    return None


def master_copy(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The unrounded weight and bias of a layer with `FakeQuantize`; a bias that is held at zero is zero."""
    lists: Any = module.parametrizations
    bias = None
    if "bias" in lists:
        held = lists["bias"]
        bias = held.original * 0 if held[0].absent else held.original
    return lists["weight"].original, bias
