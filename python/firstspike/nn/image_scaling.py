"""Scaling of images to mean 0 and standard deviation 1, as the first module of a net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from .._base import checks
from .settings import Settings

_BRIGHTEST = 1.001  # the largest number that pixels of 8 bits count as, and rounding
_SMALLEST = 1e-6  # the least standard deviation of a channel, relative to its largest value


def as_float(name: str, images: Tensor) -> Tensor:
    """Return float32 images: uint8 pixels are divided by 255, floats are taken as they are; TypeError for other types."""
    checks.instance(name, images, Tensor, "a torch.Tensor")
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    if not images.is_floating_point():
        raise TypeError(f"{name} must be uint8 or of a float type, got {images.dtype}")
    return images.to(torch.float32)


class Normalize(Settings):
    """Scale images to (x - mean) / std, per channel; `models.TTFSNet(..., normalize=...)` applies it first.

    `of` finds the numbers for mean 0 and deviation 1, `to_unit` those for the range [0, 1], which latency codes take.

    Parameters
    ----------
    mean, std : float or sequence of float
        One finite number per channel, or a single one for all channels or features; std must be positive.
    saturate : bool
        Scaled values below 0 count as 0, those above 1 as 1. Values below -0.5 or above 1.5 are refused (on the CPU), since
        they are not of the data whose range is scaled.

    Attributes
    ----------
    mean, std : Tensor
        Buffers, float32 [channels] or [1]; they are part of the state_dict.

    Raises
    ------
    TypeError, ValueError
        For other numbers, or if mean and std differ in length; of images, see `saturate`.

    Examples
    --------
    >>> nn.Normalize(mean=0.5, std=0.25)(torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [[[[-2.0, 2.0]]]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], saturate: bool = False) -> None:
        super().__init__()
        self.saturate = checks.boolean("saturate", saturate)
        means = [checks.real("mean", value) for value in (mean if isinstance(mean, Sequence) else [mean])]
        stds = [checks.positive("std", value) for value in (std if isinstance(std, Sequence) else [std])]
        if len(means) != len(stds) or not means:
            raise ValueError(f"std must have one number for each of the {len(means)} of mean, got {len(stds)}")
        self.register_buffer("mean", torch.tensor(means, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(stds, dtype=torch.float32))

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """Return the scaling that gives each channel of these images mean 0 and standard deviation 1.

        Parameters
        ----------
        images : Tensor
            Images [N, C, H, W], or features [N, F] that share one mean; floats, or uint8 pixels p that count as p / 255.

        Examples
        --------
        >>> nn.Normalize.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        Normalize(mean=[0.5], std=[0.5])
        """
        images = _by_channel(images)
        if images.dtype != torch.uint8:
            channels = images.double().transpose(0, 1).flatten(1)
            least = _SMALLEST * channels.abs().amax(1)  # the deviation that rounding gives a constant channel
            least[least == 0] = _SMALLEST
            return cls(channels.mean(1).tolist(), channels.std(1, correction=0).clamp(min=least).tolist())
        counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)]).double()
        value = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        share = counts / counts.sum(1, keepdim=True)
        mean = (share * value).sum(1)
        std = (share * (value - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=_SMALLEST)
        return cls(mean.tolist(), std.tolist())

    @classmethod
    def to_unit(cls, images: Tensor) -> Self:
        """Return the scaling that maps the range of each channel of these images to [0, 1], and saturates beyond it.

        Parameters
        ----------
        images : Tensor
            As in `of`.

        Examples
        --------
        >>> nn.Normalize.to_unit(torch.tensor([[-1.0, 3.0]]))(torch.tensor([[0.0, 4.0]]))
        tensor([[0.2500, 1.0000]])
        """
        low, high = (x.double() for x in _by_channel(images).transpose(0, 1).flatten(1).aminmax(dim=1))
        unit = 255 if images.dtype == torch.uint8 else 1
        least = (_SMALLEST * high.abs()).clamp(min=_SMALLEST)  # the range that rounding gives a constant channel
        return cls((low / unit).tolist(), ((high - low).clamp(min=least) / unit).tolist(), saturate=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scaled images, float32, of images [B, C, H, W] or features [B, F]; uint8 counts as p / 255."""
        x = as_float("images", images)
        if self.saturate and images.dtype == torch.uint8 and float((self.mean + self.std).max()) > _BRIGHTEST:
            largest = float((self.mean + self.std).max())
            raise ValueError(f"images must be floats up to {largest:.6g}: pixels of 8 bits count as p / 255; give images.float()")
        if x.ndim < 2 or len(self.mean) not in (1, x.shape[1]):
            raise ValueError(f"images must have shape [batch, {len(self.mean)}, ...], got {tuple(x.shape)}")
        per_channel = (-1, *[1] * (x.ndim - 2))
        scaled = (x - self.mean.view(per_channel)).div_(self.std.view(per_channel))
        if not self.saturate:
            return scaled
        if checks.has_values(scaled) and scaled.device.type == "cpu" and scaled.numel():
            low, high = (float(value) for value in scaled.detach().aminmax())
            if not (low >= -0.5 and high <= 1.5):
                allowed = "at most half the range that is scaled to [0, 1] beyond it"
                raise ValueError(f"images must be {allowed}, from -0.5 to 1.5 when scaled, got {low:.6g} to {high:.6g}")
        return scaled.clamp(0, 1)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "saturate": self.saturate}


def _by_channel(images: Tensor) -> Tensor:
    """Checked images [N, C, ...] on the CPU, for MPS has no float64; features [N, F] have one channel."""
    as_float("images", images[:0])  # refuses other types
    if images.ndim not in (2, 4) or not images.numel():
        raise ValueError(f"images must be [N, C, H, W] or [N, F] and not empty, got shape {tuple(images.shape)}")
    return (images.unsqueeze(1) if images.ndim == 2 else images).cpu()
