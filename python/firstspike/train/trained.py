"""A trained net with what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .._base.geometry import scaling_hint
from .._base.modules import evaluating
from ..data import Dataset, Normalize
from ..data.dataset import samples_of
from ..data.normalize import remember, warn_of_pixels
from .batches import batches
from .config import Config
from .evaluation import BATCH, check_scores, device_of


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

    def __post_init__(self) -> None:
        remember(self.model, self.normalize)

    @torch.no_grad()
    def predict(self, images: Any) -> Tensor:
        """The class of each image, int64 [B]: the largest of the net's scores.

        The images go through `normalize` and in batches through the net, which runs in evaluation mode, without gradients,
        and is left in the mode that it had.

        images: [B, *input_shape] as `fit` and `evaluate` take them, an array or a tensor, uint8 or of a float type, on any
        device; or `SpikeTimes`, for a net that was trained on them. The answers are on the same device, those of an array
        on the CPU. Raises TypeError or ValueError for another type or shape, and for NaN and infinity.

        Examples:
            >>> trained = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), progress=False).trained
            >>> trained.predict(data.load("digits", train=False).images[:5]).shape
            torch.Size([5])
        """
        samples, steps = samples_of("images", images)
        shape = tuple(samples.shape[1:])
        if shape != self.input_shape:
            hint = scaling_hint(self.input_shape, shape)
            raise ValueError(f"images must be samples of the shape {list(self.input_shape)}, got {list(shape)}{hint}")
        warn_of_pixels(samples, self.normalize)
        unknown = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)
        given = Dataset(samples, unknown, 1, "images", "given in Python", steps).to(device_of(self.model))
        answers = [unknown[:0]]
        with evaluating(self.model):
            for x, labels, _ in batches(given, self.normalize, BATCH):
                scores = self.model(x)
                check_scores(scores, len(labels))
                answers.append(scores.argmax(1).to(samples.device))
        return torch.cat(answers)
