"""Statistics of each layer of a net: its current, the share of neurons that fire, its gradient (the paper's Figure 1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.geometry import layer_geometry
from .._base.modules import class_name, trained_parameters
from ..functional.layer import full_precision
from ..nn import FiringLayer, PooledSpikes, Synapse
from ..spikes import SpikeTimes
from .calls import Call, Calls

#: Edges of the bins of `layer_signals`' histogram of X[t], in units of the layer's threshold; the two outer bins hold
#: everything beyond.
HISTOGRAM_EDGES = torch.linspace(-4, 4, 65)


def layer_signals(model: Any, x: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """One dictionary per run of a layer, in order, from a forward and a backward pass on one batch.

    model: a net with `layers`, of which those of `firstspike.nn` with a weight count, also within residual blocks and
    Sequentials. x: float [B, ...] as the model takes it. labels: int64 [B], for the cross-entropy loss. The model's
    gradients are cleared.

    Keys: `layer`, the name of its class; `current_mean` and `current_sd` of the current X[t] over samples, neurons and
    steps, in units of the threshold (1 in a layer that only integrates), without the shortcut's; `histogram`, the
    shares of X[t] in the bins of `HISTOGRAM_EDGES`; `firing`, the share of neurons that fire, None for a layer that only
    integrates; `gradient`, the root mean square of the gradient of the trained weight, None for a frozen one.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> rows = inspect.layer_signals(net, torch.rand(4, 64), torch.tensor([0, 1, 2, 3]))
    >>> [row["layer"] for row in rows], rows[0]["gradient"] > 0
    (['DirectLinear', 'Integrate'], True)
    """
    if not isinstance(getattr(model, "layers", None), nn.ModuleList):
        raise TypeError(f"model must be a net with layers, such as a TTFSNet, got {checks.shown(model)}")
    checks.batch("x", x, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    checks.labels(labels, len(x))
    seen: list[Call] = []
    layers = {name: layer for name, layer in model.layers.named_modules() if isinstance(layer, Synapse)}
    with Calls(model, layers, seen.append):
        model.zero_grad()
        scores = model(x)
    checks.labels_in_range(labels, scores.shape[1])
    F.cross_entropy(scores, labels).backward()
    rows = [_row(call.module, call.received.detach(), call.output) for call in seen]
    model.zero_grad()
    return rows


@torch.no_grad()
def _row(layer: Any, before: Any, after: Any) -> dict[str, Any]:
    current, gradient = layer_current(layer, before), weight_gradient(layer)
    if isinstance(layer, FiringLayer):
        current = current / layer.neuron["threshold"]
    inner = HISTOGRAM_EDGES[1:-1].to(current.device)
    shares = torch.bincount(torch.bucketize(current.flatten(), inner), minlength=len(HISTOGRAM_EDGES) - 1).double()
    return {
        "layer": class_name(layer),
        "current_mean": float(current.mean()),
        "current_sd": float(current.std(correction=0)),
        "histogram": [round(float(share), 6) for share in shares / shares.sum()],
        "firing": float((~after.silent).double().mean()) if isinstance(after, SpikeTimes) else None,
        "gradient": None if gradient is None else float(gradient.square().mean().sqrt()),
    }


def weight_gradient(layer: nn.Module) -> Tensor | None:
    """The present gradient of the parameters that a layer's weight is computed from, flattened; None without any."""
    parts = [
        parameter.grad.flatten() for parameter in trained_parameters(layer, "weight") if parameter.grad is not None
    ]
    return torch.cat(parts) if parts else None


def layer_current(layer: Any, before: SpikeTimes | PooledSpikes | Tensor) -> Tensor:
    """The current X[t] = gamma W s[t] + beta of a layer whose input is `before`: SpikeTimes, PooledSpikes, a dense train or data.

    Returns float32 [T, B, ...], or [B, ...] where it is the same in every step; in units of the thresholds where the layer
    has one per neuron. Dropout is not applied.

    Examples
    --------
    >>> layer, x = nn.TTFSLinear(4, 3, steps=8), encode.latency(torch.rand(2, 4), steps=8)
    >>> inspect.layer_current(layer, x).shape
    torch.Size([8, 2, 3])
    """
    checks.instance("layer", layer, Synapse, "a layer of firstspike.nn with a weight")
    checks.batch("before", before, (SpikeTimes, PooledSpikes, Tensor), "SpikeTimes, PooledSpikes or a torch.Tensor")
    if isinstance(before, Tensor):
        checks.float32("before", before)
    weight, bias = layer.effective_weight_and_bias()
    x = before.dense() if isinstance(before, SpikeTimes | PooledSpikes) else before
    lead = x.shape[: x.dim() - (3 if x.dim() >= 4 else 1)]
    pool = getattr(layer, "avg_pool", 1)
    try:
        layer_geometry(layer, (1, *x.shape[len(lead) :]), weight)
    except ValueError as error:
        raise ValueError(f"before must fit the layer: {error}") from error
    if x.dim() >= 4:
        x = F.avg_pool2d(x.reshape(-1, *x.shape[-3:]), pool)
        if weight.dim() == 4:
            with full_precision(x.device):
                return torch.unflatten(F.conv2d(x, weight, bias, layer.stride, layer.padding), 0, lead)
        x = x.flatten(1).unflatten(0, lead)
    with full_precision(x.device):
        return F.linear(x, weight, bias)
