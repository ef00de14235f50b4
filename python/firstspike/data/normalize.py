"""From pixels to a net's float input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .._base.checks import batch, instance, warn
from .._base.fields import check_types
from .._base.modules import uncompiled

_FAR_BEYOND = 2.0  # neither rounding nor resampling takes values in [0, 1] so far
_DEVIATIONS = 100  # beyond the mean, where data are standardised
_SAMPLES = 1000  # of a data set are looked at
_OF_NETS: WeakKeyDictionary[nn.Module, Normalize] = WeakKeyDictionary()


@dataclass(frozen=True)
class Normalize:
    """Scale images to (x - mean) / std, per channel, where x = p / 255 for uint8 pixels p and x = p for floats.

    Attributes:
        mean, std: one number per channel, or a single one for all channels or features; None for both keeps x.

    Raises:
        TypeError, ValueError: for numbers that are not finite, an std that is not positive, one without the other, or
            another number of them.

    Examples:
        >>> Normalize(mean=(0.5,), std=(0.25,))(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).tolist()
        [[[[-2.0, 2.0]]]]
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_types(self, "normalize.")
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError(f"normalize must have a mean and an std for each channel, or neither, got {self}")
        if any(value <= 0 for value in self.std or ()):
            raise ValueError(f"normalize.std must be positive, got {self.std}")

    @classmethod
    def of(cls, images: Tensor) -> Normalize:
        """The scaling that gives each channel of images [N, C, H, W] mean 0 and standard deviation 1; features [N, F] are one.

        images: uint8 or of a float type, at least one sample. Raises TypeError or ValueError for others.

        Examples:
            >>> Normalize.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
            Normalize(mean=(0.5,), std=(0.5,))
        """
        is_bytes = _is_bytes(images)
        batch("images", images, (Tensor,), "a tensor")
        if images.ndim not in (2, 4):
            raise ValueError(f"images must be [N, C, H, W] or [N, F], got shape {list(images.shape)}")
        if images.numel() == 0:
            raise ValueError(f"images must hold at least one sample with values, got shape {list(images.shape)}")
        if images.ndim == 2:
            images = images.unsqueeze(1)
        if not is_bytes:
            channels = images.double().transpose(0, 1).flatten(1)
            floor = 1e-6 * channels.abs().amax(1)  # of a channel that is constant, but for rounding
            floor[floor == 0] = 1e-6
            return cls(tuple(channels.mean(1).tolist()), tuple(channels.std(1, correction=0).clamp(min=floor).tolist()))
        counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]).double()
        value = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        share = counts / counts.sum(1, keepdim=True)
        mean = (share * value).sum(1)
        std = (share * (value - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=1e-6)
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float] | None]) -> Normalize:
        """The scaling out of `to_dict`; files of version 0.1 say "deviation" where newer ones say "std".

        Raises KeyError, TypeError or ValueError for other values.
        """
        mean, std = values["mean"], values["std"] if "std" in values else values["deviation"]
        return cls(None if mean is None else tuple(mean), None if std is None else tuple(std))

    def to_dict(self) -> dict[str, Any]:
        """The scaling as JSON can hold it."""
        return {"mean": self.mean and list(self.mean), "std": self.std and list(self.std)}

    def __call__(self, images: Tensor) -> Tensor:
        """The float32 input of images [B, C, H, W] or features [B, F], uint8 or of a float type.

        Raises TypeError for another type, ValueError for another number of channels than that of mean and std.
        """
        is_bytes = _is_bytes(images)
        x = images.to(torch.float32).div_(255) if is_bytes else images.to(torch.float32)
        if self.mean is None or self.std is None:
            return x
        channels = x.shape[1] if x.ndim > 1 else "none"
        if len(self.mean) not in (1, channels):
            raise ValueError(
                f"images must have {len(self.mean)} channels, one per mean and std, got {channels} in shape {tuple(x.shape)}"
            )
        per_channel = (-1, *[1] * (x.ndim - 2))
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=x.device).view(per_channel) for v in (self.mean, self.std)
        )
        return (x.sub_(mean) if is_bytes else x - mean).div_(std)  # of bytes x is a new tensor


def remember(net: nn.Module, normalize: Normalize) -> None:
    """Keep in mind, as long as the net lives, how its training scaled its input."""
    _OF_NETS[net] = normalize


def warn_of_missing(net: nn.Module, what: str) -> None:
    """Warn where a net was trained on scaled input, and nobody said how to scale it; what: what then comes of it."""
    known = _OF_NETS.get(uncompiled(net))
    if known is not None and known != Normalize():
        warn(f"the net was trained on standardised data, and {what} (train.Trained has its normalize)")


def _is_bytes(images: Tensor) -> bool:
    """Whether they are pixels 0 to 255; TypeError where they are neither those nor floats."""
    instance("images", images, Tensor, "a torch.Tensor")
    is_bytes = images.dtype == torch.uint8
    if not is_bytes and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or of a float type, got {images.dtype}")
    return is_bytes


def warn_of_pixels(images: Any, normalize: Normalize) -> None:
    """Warn of float images [N, C, H, W] that are probably pixels which nothing divided by 255: from 0 to far beyond 1.

    Images with values below 0, and values that `normalize` brings near its mean, give no warning: their scale is intended.
    Features [N, F], bytes and spike times are passed over.
    """
    if not (isinstance(images, Tensor) and images.is_floating_point() and images.ndim == 4 and images.numel() > 0):
        return
    low, high = (float(value) for value in images[:: max(1, len(images) // _SAMPLES)].detach().aminmax())
    meant = max(
        (mean + _DEVIATIONS * std for mean, std in zip(normalize.mean or (), normalize.std or (), strict=True)),
        default=0.0,
    )
    if low >= 0 and max(_FAR_BEYOND, meant) < high < math.inf:
        warn(
            f"the images hold floats up to {high:g} where pixels are expected in [0, 1]: divide them by the largest value that a "
            "pixel can have, or pass bytes, 0 to 255, as uint8"
        )
