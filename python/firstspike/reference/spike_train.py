"""Spikes as the dense train itself: the counterpart of ``firstspike.spikes.SpikeTimes`` that keeps any float type."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._base.checks import SILENT


@dataclass(frozen=True)
class SpikeTrain:
    """Spikes of a population in which every neuron fires at most once.

    ``train`` is [T, B, ...] float, 1 at the step in which a neuron fires, else 0. Gradients flow through it.

    Examples:
        >>> x = reference.SpikeTrain.from_times(torch.tensor([[1, 255]], dtype=torch.uint8), 3)
        >>> x.train[:, 0].tolist(), x.times.tolist()
        ([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [[1, 255]])
    """

    train: Tensor

    @classmethod
    def from_times(cls, times: Tensor, steps: int, dtype: torch.dtype = torch.float64) -> SpikeTrain:
        """Train of uint8 ``times`` [B, ...], 0..steps-1 or 255 = silent."""
        clock = torch.arange(steps).reshape(-1, *[1] * times.dim())
        return cls((times.long() == clock).to(dtype))

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return self.train.shape[0]

    @property
    def shape(self) -> torch.Size:
        """[B, ...], without the steps."""
        return self.train.shape[1:]

    @property
    def times(self) -> Tensor:
        """uint8 [B, ...]: the step of each neuron's spike, 255 where it is silent."""
        clock = torch.arange(self.steps).reshape(-1, *[1] * len(self.shape))
        fired = self.train.detach() > 0
        first = torch.where(fired, clock, SILENT).amin(0)
        return first.to(torch.uint8)

    @property
    def silent(self) -> Tensor:
        """Bool [B, ...]: neurons that never fire."""
        return (self.train.detach() == 0).all(0)

    def dense(self) -> Tensor:
        """[T, B, ...], differentiable."""
        return self.train

    def seconds(self, dt: float = 1.0) -> Tensor:
        """Times in units of ``dt``, inf where silent; the train's float type."""
        times = self.times.to(self.train.dtype) * dt
        return times.masked_fill(self.silent, float("inf"))

    def count(self) -> Tensor:
        """Spikes per sample, int64 [B]."""
        return (self.train.detach() > 0).sum(0).flatten(1).sum(1)

    def flatten(self, start: int = 1) -> SpikeTrain:
        """Merge the dimensions from ``start`` on (0 is the batch)."""
        return SpikeTrain(self.train.flatten(start + 1))

    def reshape(self, *shape: int) -> SpikeTrain:
        """Same spikes, another shape [B, ...]."""
        return SpikeTrain(self.train.reshape(self.steps, *shape))
