"""Weight normalisation in plain torch: the counterpart of `firstspike.functional.normalize_weight`."""

from __future__ import annotations

from torch import Tensor


def normalize_weight(weight: Tensor, deviation: float, gamma: Tensor | None = None) -> Tensor:
    """(W - mean) / std * deviation * gamma, mean and std (biased) over the whole weight [O, ...]; gamma [O] or [1].

    Examples:
        >>> weight = reference.normalize_weight(torch.rand(4, 3), 0.5)
        >>> torch.allclose(weight.std(correction=0), torch.tensor(0.5)), weight.mean().abs() < 1e-6
        (True, tensor(True))
    """
    mean = weight.mean()
    normal = (weight - mean) / ((weight - mean).square().mean() + 1e-12).sqrt() * deviation
    return normal if gamma is None else normal * gamma.view(-1, *[1] * (weight.dim() - 1))
