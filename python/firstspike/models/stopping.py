"""A net that stops before its last step, as a net of fewer steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .. import nn as fs
from .._base import checks
from .._base.modules import plain_copy
from ..nn.residual import fold_layers
from .chain import as_net
from .net import TTFSNet


@torch.no_grad()
def stop_after(net: nn.Module, steps: int) -> TTFSNet:
    """Return the net that runs over the first `steps` steps only: it fires the same spikes until then, and answers then.

    It is a net as any other: train, evaluate, profile, quantise and save it. Its scores are those of `TTFSNet.running` after so
    many steps, up to rounding. An input in latency code keeps its times, and what is later is silent.

    In nets of windows the readout integrates while the last hidden layer fires, so a run may stop within that last window. The
    last hidden layer then has fewer levels, and an image whose spikes come too late has the readout's bias as scores.

    Parameters
    ----------
    net : a TTFSNet, or a Sequential of our layers that `models.as_net` takes; it is not changed.
    steps : one of `net.score_steps`, from the start of the run: in nets of windows the input's window counts, too.

    Raises
    ------
    ValueError
        For 0 steps, more steps than the net has, or, in a net of windows, steps before its last window; for a net of windows
        without a layer that fires.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8).eval()
    >>> x = torch.rand(4, 64)
    >>> torch.equal(models.stop_after(net, 3)(x), net.running(x)[2])
    True
    >>> windows = models.build("64-32-10", input_shape=(64,), steps=16, timing="windowed")
    >>> windows.score_steps, models.stop_after(windows, 23).latency
    (range(16, 32), 8)
    """
    net = as_net(plain_copy(net))
    ran = net.score_steps
    steps = checks.integer("steps", steps, ran[0], ran[-1])
    if steps == ran[-1]:
        return net
    fold_layers(net)
    net._config = None
    if net.timing == "windowed":
        _shorten_window(net, steps - ran[0] + 1)
        return net
    parts: list[Any] = [*net.layers.modules(), *net.encoder.modules()]
    for part in parts:
        if isinstance(part, fs.LatencyEncoder | fs.SpikeInput):
            part.code_steps = part.code_steps or part.steps
        scale = getattr(part, "bias_scale", 1)
        if hasattr(part, "steps"):
            part.steps = steps
        if getattr(part, "bias_scale", 1) != scale and part.bias is not None:
            part.bias *= scale / part.bias_scale
    net.steps = steps
    return net


def _shorten_window(net: TTFSNet, steps: int) -> None:
    """Let the last layer that fires do so in `steps` steps only, in place: its levels below T - steps become silent."""
    firing = [layer for layer in net._synapses() if layer.fires]
    if not firing:
        raise ValueError("net must have a hidden layer that integrates; a readout of the input's window cannot stop early")
    last = firing[-1]
    share = steps / last.steps
    last.bias -= (1 - share) * last.clip
    last.clip *= share
    net.readout.weight *= share  # a value of 1 is now a level of `steps`
    for block in net.layers.modules():
        if isinstance(block, fs.Residual) and block.layers[-1] is last:
            block.steps = steps
    last.steps = steps
    net.steps = max(layer.steps for layer in firing)
