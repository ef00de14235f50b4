"""Weight normalisation in plain torch: the counterpart of `firstspike.functional.normalize_weight`."""

from __future__ import annotations

from torch import Tensor


def normalize_weight(
    weight: Tensor, deviation: float, gamma: Tensor | None = None, *, granularity: str = "layer"
) -> Tensor:
    """(W - mean) / std * deviation * gamma; gamma [O] or [1].

    Mean and std (biased) are over the whole weight [O, ...], or per output with granularity "channel".

    Examples:
        >>> weight = reference.normalize_weight(torch.rand(4, 3), 0.5)
        >>> torch.allclose(weight.std(correction=0), torch.tensor(0.5)), weight.mean().abs() < 1e-6
        (True, tensor(True))
    """
    over = tuple(range(1 if granularity == "channel" else 0, weight.dim()))
    from_mean = weight - weight.mean(over, keepdim=True)
    normal = from_mean / (from_mean.square().mean(over, keepdim=True) + 1e-12).sqrt() * deviation
    return normal if gamma is None else normal * gamma.view(-1, *[1] * (weight.dim() - 1))
