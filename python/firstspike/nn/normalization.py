"""Weight normalisation as a torch parametrization."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .. import _checks
from .synapse import Synapse

_EPSILON = 1e-12  # far below any variance of a weight in use; it keeps a constant weight finite


class WeightNormalization(nn.Module):
    """(W - mean) / std * sqrt(T / N) * gain, mean and std (biased) over the whole weight (arXiv 2410.23619, Eq. 16).

    So the weight keeps the mean 0 and the variance T / N of ETTFS-init throughout training, and Var(PSC) stays 1.
    `gain` is ours, 1 in the paper: k after k x k average pooling and 1 / sqrt(T) in a directly coded layer, as in
    `init.ettfs_`.

    steps: T, 1 to 254. fan_in: N, at least 1. Use: `normalize(layer)`, or
    `torch.nn.utils.parametrize.register_parametrization(layer, "weight", WeightNormalization(steps, fan_in))`.
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

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, of the shape of `weight`."""
        variance, mean = torch.var_mean(weight, correction=0)
        return (weight - mean) * (self.deviation * torch.rsqrt(variance + _EPSILON))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What an assignment to the layer's weight stores: the weight as it is."""
        return weight

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"steps={self.steps}, fan_in={self.fan_in}, gain={self.gain:g}"


def normalize(layer: Synapse) -> Synapse:
    """Put `WeightNormalization` with the layer's steps, fan-in and gain on its weight, in place; returns the layer."""
    if not isinstance(layer, Synapse):
        raise TypeError(f"layer must be a layer of firstspike.nn with a weight, got {type(layer).__name__}")
    if parametrize.is_parametrized(layer, "weight"):
        raise ValueError("layer must not be normalised yet: its weight carries a parametrization")
    parametrize.register_parametrization(layer, "weight", WeightNormalization(layer.steps, layer.fan_in, layer.gain))
    return layer
