"""A net's figures under the names of the NeuroBench harness (Yik et al. 2025, neurobench on PyPI)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.modules import evaluating
from ..functional.layer import full_precision
from ..nn import Synapses
from ..spikes import SpikeTimes
from .cost import counts
from .monitor import Monitor, Seen
from .operations import input_events, shortcut_times, synaptic_operations


@torch.no_grad()
def neurobench(net: nn.Module, x: Tensor | SpikeTimes, *, batch: int = 256) -> dict[str, Any]:
    """Return what the NeuroBench harness measures of a net, which cannot see layers of this package.

    Parameters
    ----------
    net : a net of layers of `firstspike.nn`; it runs in evaluation mode.
    x : its input, a tensor [B, ...] or `SpikeTimes`.
    batch : samples per forward pass.

    Returns
    -------
    A dictionary with the harness's names:

    - "Footprint": bytes of parameters and buffers.
    - "ConnectionSparsity": share of weights that are zero, as they act: normalised, rounded.
    - "ActivationSparsity": share of neurons and time steps without a spike, over the layers with weights that fire. Steps are
      those of the whole run: a layer of windows is silent in the windows of the others.
    - "SynapticOperations", per sample: "Effective_MACs" of inputs that are real numbers, "Effective_ACs" of spikes, both
      without zero inputs and zero weights, and "Dense", with them, in every time step.
    - "MembraneUpdates", per sample: potentials that change before the neuron fires, per neuron and time step; the updates of
      `profile`. The harness counts every neuron in the first step, too.

    Raises
    ------
    ValueError : for a net that runs no layer of this package, and for no sample.

    Examples
    --------
    >>> figures = inspect.neurobench(models.mlp("64-32-10", steps=8), torch.rand(20, 64))
    >>> figures["ConnectionSparsity"], figures["SynapticOperations"]["Dense"]  # 64 x 32 once, 32 x 10 in 8 steps
    (0.0, 4608.0)
    """
    checks.instance("net", net, nn.Module, "a torch.nn.Module")
    checks.batch("x", x, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    batch = checks.integer("batch", batch, 1)
    sums = dict.fromkeys(("MACs", "ACs", "Dense", "updates", "spikes", "places"), 0.0)
    layers: dict[str, Any] = {}
    with evaluating(net):
        for start in range(0, len(x), batch):
            with Monitor(net) as seen:
                net(x[start : start + batch])
            calls = {name: call for name, call in seen.layers.items() if isinstance(call.module, Synapses)}
            run = _steps_of_windows(list(calls.values()))
            for name, call in calls.items():
                layers[name] = call.module
                _add(sums, call, run)
                if call.spikes is not None:
                    sums["spikes"] += float(call.spikes.count().sum())
                    sums["places"] += float(call.spikes.times.numel() * (run or call.spikes.steps))
    if not layers:
        raise ValueError("net must run layers of firstspike.nn on at least one sample, got none")
    weights = [layer.effective_weight_and_bias()[0] for layer in layers.values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return {
        "Footprint": sum(each.numel() * each.element_size() for each in (*net.parameters(), *net.buffers())),
        "ConnectionSparsity": zeros / sum(weight.numel() for weight in weights),
        "ActivationSparsity": 1 - sums["spikes"] / sums["places"] if sums["places"] else 0.0,
        "SynapticOperations": {
            "Effective_MACs": sums["MACs"] / len(x),
            "Effective_ACs": sums["ACs"] / len(x),
            "Dense": sums["Dense"] / len(x),
        },
        "MembraneUpdates": sum(layer.active for layer in counts(net, x, batch=batch)),
    }


def _steps_of_windows(calls: Sequence[Seen]) -> int:
    """Steps of a run of layers of windows, whose windows follow each other; 0 for layers that run step by step."""
    windows = [call.spikes.steps for call in calls if call.spikes is not None]
    received = calls[0].received if calls else None
    windowed = isinstance(received, SpikeTimes) and getattr(calls[0].module, "timing", "") == "windowed"
    return received.steps + sum(windows) if windowed else 0  # type: ignore[union-attr]


def _add(sums: dict[str, float], seen: Seen, run: int) -> None:
    """Add the operations of one call of a layer. run: steps of all windows, 0 where layers share their steps."""
    layer: Any = seen.module
    units, steps = input_events(seen.received, layer)
    sums["ACs" if steps else "MACs"] += _effective(units if steps else (units != 0).float(), layer)
    steps = run or max(steps, 1)
    sums["Dense"] += steps * synaptic_operations(torch.ones_like(units), layer)
    if seen.shortcut is not None and seen.spikes is not None:
        times = shortcut_times(seen.shortcut, seen.spikes.shape)
        sums["ACs"] += float((times != checks.SILENT).sum())
        sums["Dense"] += float(times.numel() * steps)


def _effective(units: Tensor, layer: Any) -> float:
    """Sum over `units` of the weights other than zero that each reaches; each unit of an averaged window counts."""
    pool, weight = getattr(layer, "avg_pool", 1), (layer.effective_weight_and_bias()[0] != 0).float()
    units = F.avg_pool2d(units, pool, divisor_override=1) if pool > 1 else units
    with full_precision(units.device):
        if weight.dim() == 2:
            reached = units.flatten(1) @ weight.T
        else:
            groups = getattr(layer, "groups", 1)
            reached = F.conv2d(units, weight, stride=layer.stride, padding=layer.padding, groups=groups)
    return float(reached.sum(dtype=torch.float64))
