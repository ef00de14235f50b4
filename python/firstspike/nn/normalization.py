"""Weight normalisation as a torch parametrization."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .. import _checks

_EPSILON = 1e-12  # far below any variance of a weight in use; it keeps a constant weight finite


class WeightNormalization(nn.Module):
    """(W - mean) / std * sqrt(T / N) * gain, mean and std (biased) over the whole weight (paper, Eq. 16).

    The paper is arXiv 2410.23619. So the weight keeps the mean 0 and the variance T / N of ETTFS-init throughout
    training, and Var(PSC) stays 1. `gain` is ours, 1 in the paper, see `init.ettfs_`.

    steps: T, 1 to 254. fan_in: N, at least 1. Use: `normalize(layer)`, or
    `torch.nn.utils.parametrize.register_parametrization(module, "weight", WeightNormalization(steps, fan_in))`.
    """

    def __init__(self, steps: int, fan_in: int, gain: float = 1.0) -> None:
        super().__init__()
        self.steps = _checks.steps(steps)
        self.fan_in = _checks.integer("fan_in", fan_in, 1)
        self.gain = _checks.real("gain", gain, 0.0, open_low=True)

    @property
    def deviation(self) -> float:
        """The standard deviation that the normalised weight has."""
        return self.gain * math.sqrt(self.steps / self.fan_in)

    def forward(self, weight: Tensor, gamma: Tensor | None = None) -> Tensor:
        """The normalised weight of the shape of `weight`, [O, ...], times gamma, [O] or [1], if given."""
        return _Normalized.apply(weight, gamma, self.deviation)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What an assignment to the layer's weight stores: the weight as it is."""
        return weight

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}, fan_in={self.fan_in}, gain={self.gain:g}"


class _Normalized(torch.autograd.Function):
    """gamma[o] s c with c = W - mean and s = deviation / std, in few passes over the weight.

    Sums go over each output's weights first and then over the outputs, so that they do not depend on the number of
    threads.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, gamma: Tensor | None, deviation: float) -> Tensor:
        rows = weight.flatten(1)
        centred = rows - rows.sum(1).sum() / rows.numel()
        variance = torch.linalg.vector_norm(centred, dim=1).square().sum() / rows.numel()
        scale = deviation * torch.rsqrt(variance + _EPSILON)
        ctx.save_for_backward(centred, scale, gamma)
        ctx.deviation = deviation
        return (centred * (scale if gamma is None else (scale * gamma).unsqueeze(1))).view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        centred, scale, gamma = ctx.saved_tensors
        rows = gradient.flatten(1)
        along = (rows * centred).sum(1)  # d L / d (gamma s) of each output
        factor = scale.expand(len(rows)) if gamma is None else (scale * gamma).expand(len(rows))
        mean = (factor * rows.sum(1)).sum() / rows.numel()
        slope = (factor * along).sum() * (scale / ctx.deviation).square() / rows.numel()  # through 1 / std
        weight = torch.addcmul(-mean, rows, factor.unsqueeze(1)).addcmul_(centred, -slope)
        by_gamma = None if gamma is None else (scale * along).sum_to_size(gamma.shape)
        return weight.view_as(gradient), by_gamma, None
