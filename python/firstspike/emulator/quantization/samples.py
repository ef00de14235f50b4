"""Samples that nets being quantised are tuned on or measured by: their checks, and what the net gets of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._base import checks
from ...data import Normalize
from ...data.normalize import warn_of_pixels
from ...spikes import SpikeTimes


def checked(images: object, labels: object, normalize: object) -> Normalize:
    """Check images, labels and what scales images of bytes (None: 1 / 255), which is returned; warn of doubtful pixels.

    Raises ValueError or TypeError naming a bad argument.
    """
    checks.batch("images", images, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    assert isinstance(images, (Tensor, SpikeTimes))
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    checks.labels(labels, len(images))
    checks.optional("normalize", normalize, Normalize, "a firstspike.data.Normalize")
    scaling = normalize if isinstance(normalize, Normalize) else Normalize()
    warn_of_pixels(images, scaling)
    return scaling


def net_input(x: Tensor | SpikeTimes, normalize: Normalize, device: torch.device) -> Tensor | SpikeTimes:
    """Samples on the device of the net, those of bytes scaled."""
    x = x.to(device)
    return normalize(x) if isinstance(x, Tensor) and x.dtype == torch.uint8 else x
