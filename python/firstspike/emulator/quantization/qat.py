"""Quantisation-aware fine-tuning: train on with the weights rounded, so that the rounded network answers well."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.nn.utils import parametrize

from ... import models
from ... import nn as fs
from ...data import Normalize
from ...models import TTFSNet
from ..program import profile as profiles
from ..program.profile import Profile
from . import scales
from .fake_quantize import FakeQuantize, FakeQuantizeBias


def prepare(
    model: TTFSNet,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
) -> TTFSNet:
    """A copy of a net whose core layers round weight, bias and threshold as `quantize` will; the copy trains as any
    module does.

    Normalisation and affine are folded into the weights first. Arguments as in `quantize`. A bias stays at zero where
    the profile has none. The host layer (direct coding) keeps its float weights, and trains on too. `quantize` of the
    result gives exactly the rounded network that was trained.
    """
    target = profiles.load(profile)
    bits, granularity = scales.checked_bits(bits, target), scales.checked_granularity(granularity, target)
    made = models.from_config(model.config(), generator=Generator())  # a deep copy would share its parametrised classes
    made.load_state_dict(model.state_dict())
    made.train(model.training)
    for layer in made.layers:
        if isinstance(layer, fs.TTFSLinear | fs.TTFSConv2d | fs.Integrate):
            compared = layer is made.layers[-1] and isinstance(made.readout, fs.FirstSpike)
            _round(layer, target, bits, "tensor" if compared else granularity, observer)
    return made


def finetune(
    model: TTFSNet,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int = 1,
    batch: int = 128,
    lr: float = 2e-4,
    generator: Generator,
    normalize: Normalize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TTFSNet:
    """Train a net of `prepare` on, in place (Adam, learning rate falling linearly to zero, cross-entropy).

    images: uint8 [N, C, H, W] (scaled by `normalize`, by default by 1 / 255) or float32. labels: int64 [N].
    generator: draws the order. progress: called with batches done and all.
    """
    if len(images) != len(labels):
        raise ValueError(f"labels must have one element an image, {len(images)}, got {len(labels)}")
    scaled = normalize or Normalize()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    total, done = epochs * (len(images) // batch), 0
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for begin in range(0, len(order) - batch + 1, batch):
            pick = order[begin : begin + batch]
            x = images[pick]
            if x.dtype == torch.uint8:
                x = scaled(x)
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - done / total)
            loss = F.cross_entropy(model(x), labels[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if progress is not None:
                progress(done, total)
    return model.eval()


def _round(layer: fs.Synapse, profile: Profile, bits: int, granularity: str, observer: str) -> None:
    """Fold a layer's normalisation and affine, then put rounding on its weight and bias."""
    layer.fold()
    weight, bias = layer.weight.detach(), layer.bias
    fires, pool = isinstance(layer, fs.FiringLayer), int(layer.avg_pool)  # type: ignore[arg-type]
    flat = weight.double().numpy().reshape(1 if granularity == "tensor" or not fires else len(weight), -1)
    unit = torch.from_numpy(scales.choose_scale(flat, bits, profile.weight_step, observer)).float()
    threshold = layer.neuron["threshold"] if isinstance(layer, fs.FiringLayer) else None
    finest = 1e-12 if threshold is None else scales.finest_scale(threshold, pool, profile) * (1 + 1e-6)
    rounding = FakeQuantize(unit.clamp(min=finest), bits, profile.weight_step, threshold, pool, finest)
    parametrize.register_parametrization(layer, "weight", rounding)
    if bias is not None:
        parametrize.register_parametrization(layer, "bias", FakeQuantizeBias(rounding, not profile.bias_bits))
