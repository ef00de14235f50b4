"""Quantisation-aware fine-tuning: training continues with rounded weights, so that the rounded network predicts well."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ... import nn as fs
from ..._base import checks
from ...models import TTFSNet
from ...nn.residual import fold_layers
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.layers import Layer, WindowedNeuron
from ..program.profile import Profile
from . import rounding, scales
from .facts import PixelFacts, StepFacts, WindowedFacts, core_layers, direct_layer, net_to_read, read
from .integers import integers
from .obstacles import Settings, late
from .refusals import CannotQuantize, Refusals


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

    Step by step, normalisation and affine are folded into the weights. Layers of windows go on with their batch normalisation:
    what is rounded is the weight times its factor by the running statistics, and the units of membranes follow the learned
    clips. The units are fixed here, so train in floats first, until the statistics have settled. `layer.weight` stays the
    unrounded weight. A bias stays at zero if the profile has none. A directly coded first layer gets the net's `normalize`
    folded into it, and its currents rounded; with `first_layer="float"` it trains in float. `quantize` of the result, without
    `calibration`, has the very integers that were trained. Training ignores overflow (`program.table` names the registers that
    can overflow). A residual block's scale is rounded; it is trained in nets of windows alone. Pruned weights are trained like
    all others.

    Parameters
    ----------
    model, profile, bits, granularity, observer, first_layer : as in `quantize`.

    Raises
    ------
    CannotQuantize : if `quantize` would refuse the net, biases aside, which are dropped where the profile has none.

    Examples
    --------
    >>> net = emulator.qat.prepare(models.mlp("64-32-10", steps=8), "generic8", bits=4)
    >>> emulator.qat.is_prepared(net), emulator.quantize(net).table[0]["bits"]
    (True, 4)
    """
    settings = Settings(profiles.load(profile), bits, granularity, observer, first_layer, drop_biases=True).checked()
    settings = settings._replace(granularity=settings.usual_granularity, keeps=False)
    net = net_to_read(model)
    _fold(net, first_layer)
    facts = read(net, refusals := Refusals())
    program = integers(facts, settings, refusals)
    refusals.settle()
    assert program is not None
    if facts.pixels is not None and program.pixels is not None:
        _prepare_pixels(net, facts.pixels, program.pixels, settings)
    for part, plain, layer in zip(core_layers(net), facts.layers, program.layers, strict=True):
        with refusals.of(part.name):
            if isinstance(plain, WindowedFacts):
                part.module.quantizer = _windowed(part.module, layer, settings).to(part.module.weight.device)
            elif isinstance(plain, StepFacts):
                part.module.quantizer = _step(part.module, plain, layer, settings).to(part.module.weight.device)
    refusals.settle()
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
    sizes = [min(batch, len(images) - start) for start in range(0, len(images), batch)]
    if model.timing == "windowed" and len(sizes) > 1 and sizes[-1] == 1:  # a batch of one image has no variance to normalise by
        sizes[-2:] = [batch + 1]
    total, done = epochs * len(sizes), 0
    model.train()
    for _ in range(epochs):
        for pick in torch.randperm(len(images), generator=generator).split(sizes):
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


def _fold(net: TTFSNet, first_layer: str) -> None:
    """Fold the layers that run step by step and will be rounded; a block's scale is then fixed.

    Layers of windows keep their normalisation and lose an earlier quantizer, and a block's scale becomes one number per channel.
    """
    if net.timing == "windowed":
        for layer in net.modules():
            if isinstance(layer, fs.Synapses):
                layer.quantizer = None
    else:
        host = direct_layer(net) if first_layer == "float" else None
        fold_layers(nn.ModuleList([*(layer for layer in net.layers if layer is not host), net.readout]))
    for block in net.modules():
        if isinstance(block, fs.Residual) and block.scale is not None:
            scale, last = block.scale.detach(), block.layers[-1]
            del block.scale
            if net.timing == "step":
                block.register_buffer("scale", scale)
            else:
                block.scale = nn.Parameter(scale.expand(last.get_parameter("weight").shape[0]).clone())


def _prepare_pixels(net: TTFSNet, facts: PixelFacts, layer: Layer, settings: Settings) -> None:
    """Fold a net's scaling into its first layer, and give that a quantiser of weights, biases and currents."""
    first: Any = net.layers[0]
    assert facts.threshold is not None
    first.weight.data = torch.from_numpy(facts.weight).to(first.weight)
    if facts.bias.any():
        first.bias = nn.Parameter(torch.from_numpy(facts.bias).to(first.weight), requires_grad=first.weight.requires_grad)
    net.normalize = fs.Normalize([z / 255 for z in facts.zero], [1.0] * len(facts.zero)) if any(facts.zero) else None
    bits, most = min(settings.bits or 8, scales.MOST_PIXEL_BITS), scales.most_current(settings.profile)[1]
    quantizer = rounding.PixelQuantize(_scale(facts, layer, settings), bits, facts.threshold, most)
    first.quantizer = quantizer.to(first.weight.device)


def _step(module: Any, facts: StepFacts, layer: Layer, settings: Settings) -> rounding.FakeQuantize:
    """The quantiser of a layer that runs step by step; one that suits all calls of it, if the net calls it twice."""
    p, bits, threshold = settings.profile, settings.bits or settings.profile.weight_bits, facts.threshold
    finest = 1e-12 if threshold is None else scales.finest_scale(threshold, facts.pool, p) * (1 + 1e-6)
    if facts.shortcut is not None:
        finest = max(finest, scales.least_scale(facts.shortcut, facts.pool, bits, p.weight_step, margin=1e-6).max())
    finest = max(finest, getattr(module.quantizer, "finest", 0.0))
    scale = _scale(facts, layer, settings).clamp(min=finest)
    return rounding.FakeQuantize(scale, bits, p.weight_step, threshold, facts.pool, finest, not p.bias_bits)


def _scale(facts: StepFacts, layer: Layer, settings: Settings) -> Tensor:
    """The scale of a quantiser, float32 [O], or [1] for one scale."""
    scale = torch.from_numpy(layer.scale * late(facts.synaptic_decay, settings.profile)).float()
    return scale[:1] if settings.one_scale(facts) else scale


def _windowed(module: Any, layer: Layer, settings: Settings) -> rounding.WindowedQuantize:
    """The quantiser of a layer of windows."""
    if module.quantizer is not None:
        raise CannotQuantize("the net calls it twice", "give each call a separate layer")
    p, rise, unit = settings.profile, layer.neuron_as(WindowedNeuron).rise, float(layer.scale[0])
    share, *others = (part.pool**2 * part.window << layer.shift for part in layer.inputs)
    return rounding.WindowedQuantize(module, settings.bits or p.weight_bits, p.weight_step, rise, unit, share, sum(others))


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
    return any(isinstance(module, rounding.Quantizer) for module in model.modules())
