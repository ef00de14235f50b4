"""Weight normalisation in plain torch: the counterpart of `firstspike.functional.normalize_weight`."""

from __future__ import annotations

from torch import Tensor


def normalize_weight(weight: Tensor, deviation: float, gamma: Tensor | None = None) -> Tensor:
    """(W - mean) / std * deviation * gamma, mean and std (biased) over the whole weight [O, ...]; gamma [O] or [1]."""
    mean = weight.mean()
    normal = (weight - mean) / ((weight - mean).square().mean() + 1e-12).sqrt() * deviation
    return normal if gamma is None else normal * gamma.view(-1, *[1] * (weight.dim() - 1))
