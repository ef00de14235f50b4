"""Quantisation-aware fine-tuning: training continues with rounded weights, so that the rounded network predicts well."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ... import nn as fs
from ..._base import checks
from ...models import TTFSNet
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.profile import Profile
from . import modules, rounding, scales
from .quantizer import FIRST_LAYERS, net_to_read
from .windows import prepare_windows


def prepare(
    model: nn.Module,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
    first_layer: str = "integers",
) -> TTFSNet:
    """Copy a net so that its core layers round weight, bias and threshold as `quantize` will; the copy trains like any module.

    Normalisation and affine are folded into the weights; `layer.weight` stays the unrounded weight. A bias stays at zero if the
    profile has none. A directly coded first layer gets the net's `normalize` folded into it, and its currents rounded; with
    `first_layer="float"` it trains in float. `quantize` of the result, without `calibration`, has the very integers
    that were trained. Training ignores overflow (`program.table` has the registers that can). A residual block's scale is
    rounded, and not trained; in nets of windows it is. Pruned weights are trained like all. In nets of windows the units of
    membranes follow the learned clips.

    Parameters
    ----------
    model, profile, bits, granularity, observer, first_layer : as in `quantize`.

    Examples
    --------
    >>> net = emulator.qat.prepare(models.mlp("64-32-10", steps=8), "generic8", bits=4)
    >>> emulator.qat.is_prepared(net), emulator.quantize(net).table[0]["bits"]
    (True, 4)
    """
    target, asked = profiles.load(profile), bits is not None
    checks.one_of("first_layer", first_layer, FIRST_LAYERS)
    bits = target.weight_bits if bits is None else checks.integer("bits", bits, 2, target.weight_bits)
    granularity = scales.checked_granularity(granularity, target)
    checks.one_of("observer", observer, scales.OBSERVERS)
    net = net_to_read(model)
    if net.timing == "windowed":
        return prepare_windows(net, target, bits, granularity != "tensor", observer)
    for block in net.modules():
        if isinstance(block, fs.Residual):
            fixed = block.fold().scale.detach()
            del block.scale
            block.register_buffer("scale", fixed)
    if (first := modules.direct_layer(net)) is not None:
        modules.folded(first, f"0:{type(first).__name__}")  # refuses NaN
        if first_layer == "integers":
            _round_pixels(net, first, target, min(bits, 16) if asked else 8, granularity, observer)
    calls: dict[nn.Module, list[modules.CoreLayer]] = {}
    for one in modules.core_layers(net):
        calls.setdefault(one.module, []).append(one)
    for module, of_module in calls.items():  # a module that the net calls twice is rounded once
        if isinstance(module, fs.TTFSLinear | fs.TTFSConv2d | fs.Integrate):
            compared = module is net.layers[-1] and net.compares_overshoots
            _round(of_module, target, bits, "tensor" if compared else granularity, observer)
    return net


def finetune(
    model: TTFSNet,
    images: Tensor | SpikeTimes,
    labels: Tensor,
    *,
    epochs: int = 1,
    batch: int = 128,
    lr: float = 2e-4,
    generator: Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TTFSNet:
    """Train a net of `prepare` further, in place (Adam, learning rate falling linearly to zero, cross-entropy).

    Parameters
    ----------
    model : TTFSNet
        Of `prepare`. Batches go to its device. It is returned, in evaluation mode.
    images, labels : Tensor or SpikeTimes [N, ...] as the net takes them, int64 [N]
    epochs, batch, lr : passes over the images, images per step, and first learning rate.
    generator : Generator, optional
        Draws the order; by default torch's global one (`torch.manual_seed`).
    progress : callable, optional
        Called with the number of finished batches and their total.

    Examples
    --------
    >>> digits = data.load("digits", train=True)
    >>> net = emulator.qat.prepare(models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8), bits=4)
    >>> emulator.qat.finetune(net, digits.images, digits.labels, generator=torch.Generator().manual_seed(0)) is net
    True
    """
    checks.instance("model", model, TTFSNet, "a net of `prepare`")
    if not is_prepared(model):
        raise ValueError("model must be a net of `prepare`, but none of its layers rounds its weight")
    epochs, batch = checks.integer("epochs", epochs, 1), checks.integer("batch", batch, 1, 2**31 - 1)
    lr = checks.positive("lr", lr)
    checks.batch("images", images, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    checks.labels(labels, len(images))
    images, device = images.detach(), next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    total, done = epochs * -(-len(images) // batch), 0
    model.train()
    for _ in range(epochs):
        for pick in torch.randperm(len(images), generator=generator).split(batch):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - done / total)
            scores = model(images[pick.to(images.device)].to(device))
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


def _round_pixels(
    net: TTFSNet, first: fs.DirectLinear | fs.DirectConv2d, profile: Profile, bits: int, granularity: str, observer: str
) -> None:
    """Fold a net's scaling into its first layer, and give that a quantiser of weights, biases and currents."""
    first.fold()
    weight, bias, zero = modules.pixel_weights(net)
    threshold, options = (
        modules.threshold_of(first),
        {"one": granularity == "tensor", "bits": bits, "observer": observer},
    )
    chosen = scales.scale_of_layer(weight, bias, threshold, 1, profile, step=1, **options)  # type: ignore[arg-type]
    first.weight.data = torch.from_numpy(weight).to(first.weight)
    if bias.any():
        first.bias = nn.Parameter(torch.from_numpy(bias).to(first.weight), requires_grad=first.weight.requires_grad)
    net.normalize = fs.Normalize([z / 255 for z in zero], [1.0] * len(zero)) if any(zero) else None
    quantizer = rounding.PixelQuantize(torch.from_numpy(chosen).float(), bits, threshold, scales.most_current(profile)[1])
    first.quantizer = quantizer.to(first.weight.device)


def _round(calls: list[modules.CoreLayer], profile: Profile, bits: int, granularity: str, observer: str) -> None:
    """Fold a layer's normalisation and affine, then give it a quantiser that suits all calls of it."""
    layer = calls[0].module
    assert isinstance(layer, fs.Synapses)
    layer.fold()
    pool = layer.avg_pool
    threshold = modules.threshold_of(layer) if isinstance(layer, fs.FiringLayer) else None
    weight, bias = modules.folded(layer, calls[0].name)
    one = granularity == "tensor" or threshold is None
    chosen = scales.scale_of_layer(weight, bias, threshold, pool, profile, one=one, bits=bits, observer=observer)
    scale = torch.from_numpy(chosen).float()
    finest = 1e-12 if threshold is None else scales.finest_scale(threshold, pool, profile) * (1 + 1e-6)
    for block in (one.block for one in calls if one.block is not None):
        beside = modules.shortcut_scale(block, len(block.scale), calls[0].name)
        finest = max(finest, float(scales.least_scale(beside, pool, bits, profile.weight_step, margin=1e-6).max()))
    quantizer = rounding.FakeQuantize(
        scale.clamp(min=finest), bits, profile.weight_step, threshold, pool, finest, not profile.bias_bits
    )
    layer.quantizer = quantizer.to(layer.weight.device)


def is_prepared(model: nn.Module) -> bool:
    """True if some layer of a net rounds its weight by `prepare`.

    Parameters
    ----------
    model : the net.

    Examples
    --------
    >>> emulator.qat.is_prepared(models.mlp("64-32-10", steps=8))
    False
    """
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    return any(isinstance(module, (rounding.FakeQuantize, rounding.WindowedQuantize)) for module in model.modules())
