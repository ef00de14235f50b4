"""A trained net with what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..data import Normalize
from .config import Config


@dataclass(frozen=True)
class Trained:
    """A net with what is needed to use it.

    Attributes:
        model: maps float32 [B, C, H, W] (or `SpikeTimes`, where it was trained on them) to scores [B, classes].
        config: the run's config.
        normalize: maps images [B, C, H, W] to the net's input.
        input_shape: channels, height and width of an image, or the number of features.
        epoch: how many epochs it was trained for.
        data: what it was trained and tested on: "train" and "test", each with name, source, fingerprint and, where the
            data can be loaded again, a recipe for `data.reload`. Empty in files of version 0.1.
        net: what a net that was given to `fit` is built of: `TTFSNet.config()`, or what `firstspike.save` keeps of a net of
            our layers. None for a net out of the config, and for one with code of its own.

    Examples:
        >>> trained = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), progress=False).trained
        >>> trained.model.spec, trained.input_shape, trained.epoch
        ('64-16-10', (1, 8, 8), 1)
    """

    model: nn.Module
    config: Config
    normalize: Normalize
    input_shape: tuple[int, ...]
    epoch: int
    data: dict[str, Any] = field(default_factory=dict)
    net: dict[str, Any] | None = None
