"""Quantisation-aware fine-tuning: training goes on with rounded weights, so that the rounded network predicts well."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils.prune import is_pruned

from ... import nn as fs
from ..._base import checks
from ..._base.checks import warn
from ..._base.modules import refresh_weights
from ...data import Normalize
from ...models import TTFSNet, as_net
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.profile import Profile
from . import samples, scales
from .fake_quantize import FakeQuantize
from .from_modules import CoreLayer, core_layers, folded, shortcut_scale, threshold_of


def prepare(
    model: nn.Module,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
) -> TTFSNet:
    """A copy of a net whose core layers round weight, bias and threshold as `quantize` will; it trains like any module.

    Normalisation and affine are folded into the weights first; then each core layer gets a `FakeQuantize` as its
    `quantizer`, so that `layer.weight` stays the unrounded weight. Arguments as in `quantize`. A bias stays at zero
    where the profile has none. The host layer (direct coding) keeps its float weights and is trained as well.
    `quantize` of the result, without `calibration`, has the very weights, biases and thresholds that were trained. Training
    knows nothing of registers that overflow: `Program.bounds` and a report's counts tell. A residual block's scale is
    rounded like a weight, and not trained. torch's pruning and parametrizations are folded in as well; of pruning it warns,
    since the zeros are trained like all weights.

    The copy can be pickled, saved with `torch.save` and moved to a device. Its state_dict loads into the result of
    `prepare` with the same arguments. Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> net = emulator.qat.prepare(models.mlp("64-32-10", steps=8), "generic8", bits=4)
        >>> emulator.qat.is_prepared(net), emulator.quantize(net).table[0]["bits"]
        (True, 4)
    """
    target = profiles.load(profile)
    bits, granularity = scales.checked_bits(bits, target), scales.checked_granularity(granularity, target)
    net = as_net(model, name="model")
    if is_pruned(net):
        warn("model is pruned: fine-tuning trains all its weights, those at zero as well")
    refresh_weights(net)
    made = copy.deepcopy(net)
    for block in made.modules():
        if isinstance(block, fs.Residual):
            fixed = block.fold().scale.detach()
            del block.scale
            block.register_buffer("scale", fixed)
    first = made.layers[0]
    if isinstance(first, fs.DirectLinear | fs.DirectConv2d):
        folded(first, f"0:{type(first).__name__}")  # refuses NaN
    calls: dict[nn.Module, list[CoreLayer]] = {}
    for one in core_layers(made):
        calls.setdefault(one.module, []).append(one)
    for module, of_module in calls.items():  # a module that the net calls twice is rounded once
        if isinstance(module, fs.TTFSLinear | fs.TTFSConv2d | fs.Integrate):
            compared = module is made.layers[-1] and made.compares_overshoots
            _round(of_module, target, bits, "tensor" if compared else granularity, observer)
    return made


def finetune(
    model: TTFSNet,
    images: Tensor | SpikeTimes,
    labels: Tensor,
    *,
    epochs: int = 1,
    batch: int = 128,
    lr: float = 2e-4,
    generator: Generator | None = None,
    normalize: Normalize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TTFSNet:
    """Train a net of `prepare` further, in place (Adam, learning rate falling linearly to zero, cross-entropy).

    images: uint8 [N, C, H, W] (scaled by `normalize`, by default by 1 / 255) or float32, or SpikeTimes where the net takes
    spikes; at least one. labels: int64 [N]. Batches go to the device of the net. The last batch of an epoch may be smaller.
    generator: draws the order; by default torch's global one (`torch.manual_seed`). progress: called with the batches done and
    their total.

    Raises ValueError for a net that rounds nothing, no images, another number of labels, labels that the net has no score for,
    or a loss that is not finite.

    Examples:
        >>> digits = data.load("digits", train=True)
        >>> net = emulator.qat.prepare(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8), bits=4)
        >>> tuned = emulator.qat.finetune(net, digits.images, digits.labels, generator=torch.Generator().manual_seed(0))
        >>> tuned is net
        True
    """
    checks.instance("model", model, TTFSNet, "a net of `prepare`")
    if not is_prepared(model):
        raise ValueError("model must be a net of `prepare`, but none of its layers rounds its weight")
    epochs, batch = checks.integer("epochs", epochs, 1), checks.integer("batch", batch, 1, 2**31 - 1)
    lr = checks.positive("lr", lr)
    checks.optional("generator", generator, Generator, "a torch.Generator")
    scaling = samples.checked(images, labels, normalize)
    if progress is not None:
        checks.function("progress", progress)
    images = images.detach()
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    total, done = epochs * -(-len(images) // batch), 0
    model.train()
    for _ in range(epochs):
        for pick in torch.randperm(len(images), generator=generator).split(batch):
            x = samples.net_input(images[pick.to(images.device)], scaling, device)
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - done / total)
            scores = model(x)
            if not done:  # before the first step, so that the net is not left half tuned
                checks.labels_in_range(labels, scores.shape[1])
            loss = F.cross_entropy(scores, labels[pick.to(labels.device)].to(device))
            if not loss.isfinite():
                raise ValueError(f"the loss became {loss.item()} after {done} batches; use a smaller lr, got {lr}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            fs.bound_thresholds(model)
            done += 1
            if progress is not None:
                progress(done, total)
    return model.eval()


def _round(calls: list[CoreLayer], profile: Profile, bits: int, granularity: str, observer: str) -> None:
    """Fold a layer's normalisation and affine, then give it a quantiser that suits all calls of it."""
    layer = calls[0].module
    assert isinstance(layer, fs.Synapse)
    layer.fold()
    pool = int(layer.avg_pool)  # type: ignore[arg-type]
    threshold = threshold_of(layer) if isinstance(layer, fs.FiringLayer) else None
    weight, bias = folded(layer, calls[0].name)
    chosen = scales.scale_of_layer(
        weight,
        bias,
        one=granularity == "tensor" or threshold is None,
        threshold=threshold,
        pool=pool,
        bits=bits,
        observer=observer,
        profile=profile,
    )
    scale = torch.from_numpy(chosen).float()
    finest = 1e-12 if threshold is None else scales.finest_scale(threshold, pool, profile) * (1 + 1e-6)
    for block in (one.block for one in calls if one.block is not None):
        beside = shortcut_scale(block, len(block.scale))
        finest = max(finest, float(scales.least_scale(beside, pool, bits, profile.weight_step, margin=1e-6).max()))
    quantizer = FakeQuantize(
        scale.clamp(min=finest), bits, profile.weight_step, threshold, pool, finest, not profile.bias_bits
    )
    layer.quantizer = quantizer.to(layer.weight.device)


def is_prepared(model: nn.Module) -> bool:
    """Whether some layer of a net rounds its weight by `prepare`.

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> emulator.qat.is_prepared(models.mlp("64-32-10", steps=8))
        False
    """
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    return any(isinstance(module, FakeQuantize) for module in model.modules())
