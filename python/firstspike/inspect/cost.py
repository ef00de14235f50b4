"""What a net costs per sample: the counts of its layers, and their energies beside the same net with ReLU."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import energy
from .._base import checks
from .._base.modules import class_name, evaluating
from ..energy import EnergyTable, LayerCounts
from ..energy.account import UPDATES, relu_by_layer
from ..nn import EarliestPool2d, Residual, Synapses, TTFSNode, WindowedMaxPool2d
from ..spikes import SpikeTimes
from .monitor import Monitor, Seen
from .operations import (
    Products,
    additions_and_macs,
    all_updates,
    has_products,
    input_events,
    membrane_updates,
    products,
    shortcut_times,
    synaptic_operations,
    weight_of,
)


class _Profile(pd.DataFrame):
    """A table that prints all of its columns."""

    def __repr__(self) -> str:
        return self.to_string(float_format="{:.4g}".format)


def profile(
    net: nn.Module,
    x: Any,
    table: str | os.PathLike[str] | EnergyTable = "45nm-integer",
    *,
    schedule: str = "clocked",
    batch: int = 256,
) -> pd.DataFrame:
    """Spikes, operations and energy per sample of each layer of `net`, means over the samples of `x`.

    One row per layer and a last row "total", with the columns

    - `layer`, `kind`: its name in the net and its class; `neurons`, 0 for a shortcut's convolution; `spikes`: that the layer
      sends;
    - `synaptic_operations`: additions of one weight, an input spike times the neurons that it reaches; a shortcut's included;
    - `macs`: multiply-accumulates of a directly coded layer, once per sample; without taps in the padding;
    - `dense_macs`: multiply-accumulates of the same layer with ReLU neurons; `nonzero_macs`: those whose input is not 0;
    - `updates`: potentials that an event (or a directly coded current) changes before the neuron fires, per neuron and step;
      of windows, those from the first event to the end of the input's window, and then until the neuron fires;
    - `idle_updates`: the other neurons and steps, which only a clocked core pays;
    - `synapses_nj`, `updates_nj`, `energy_nj`: of additions and multiply-accumulates, of updates, and of all parts, in the
      schedule, by `energy.accounts`; parts without a figure in the table are left out;
    - `dense_energy_nj`, `nonzero_energy_nj`: of the same layer with ReLU, by `energy.relu`; NaN where the table has no figure;
    - `latency`: the steps after which scores are there, those of what the readout gets, or in a net of windows of all windows
      of layers that fire, in the row "total"; NaN elsewhere, and for a net without a readout.

    Parameters
    ----------
    net : a net of layers of `firstspike.nn`, or of torch, with ReLU; it runs in evaluation mode. Layers of torch multiply real
        numbers, so that their `macs` are the dense ones; their accumulators count as registers.
    x : its input, a tensor [B, ...] or `SpikeTimes`.
    table : an energy table by name (`firstspike.energy.names()`), a TOML file, or an `EnergyTable`.
    schedule : one of `energy.SCHEDULES`.
    batch : samples per forward pass.

    Examples
    --------
    >>> table = profile(models.mlp("64-32-10", steps=8), torch.rand(20, 64))
    >>> table["layer"].tolist()
    ['layers.0', 'layers.1', 'total']
    """
    figures = energy.load(table)
    seen = observed(net, x, batch)
    account = energy.accounts(seen.counts, figures, schedule)
    dense, nonzero = (relu_by_layer(seen.counts, figures, skip_zeros=skip) for skip in (False, True))
    frame = pd.DataFrame(
        {
            "layer": [layer.name for layer in seen.counts],
            "kind": seen.kinds,
            "neurons": [layer.neurons for layer in seen.counts],
            "spikes": [layer.spikes for layer in seen.counts],
            "synaptic_operations": [layer.additions for layer in seen.counts],
            "macs": [layer.direct_macs for layer in seen.counts],
            "dense_macs": [layer.macs for layer in seen.counts],
            "nonzero_macs": [layer.nonzero_macs for layer in seen.counts],
            "updates": [layer.active for layer in seen.counts],
            "idle_updates": [layer.idle for layer in seen.counts],
            "synapses_nj": [(parts["synapses"] or 0.0) + (parts["first_layer"] or 0.0) for parts in account.layers],
            "updates_nj": [sum(parts.get(name) or 0.0 for name in UPDATES) for parts in account.layers],
            "energy_nj": account.by_layer(),
            "dense_energy_nj": math.nan if dense is None else dense,
            "nonzero_energy_nj": math.nan if nonzero is None else nonzero,
        }
    )
    total = {"layer": "total", "kind": "", **frame.drop(columns=["layer", "kind"]).sum(skipna=False)}
    total["latency"] = math.nan if seen.latency is None else seen.latency
    return _Profile(pd.DataFrame([*frame.to_dict("records"), total]).astype({"neurons": int}))


def counts(net: nn.Module, x: Any, *, batch: int = 256) -> list[LayerCounts]:
    """Return what each layer of `net` does per sample, means over the samples of `x`: what every energy is computed from.

    Parameters
    ----------
    net, x, batch : as of `profile`.

    Examples
    --------
    >>> net, x = models.mlp("64-32-10", steps=8), torch.rand(20, 64)
    >>> [layer.neurons for layer in inspect.counts(net, x)]
    [32, 10]
    """
    return observed(net, x, batch).counts


@dataclass(frozen=True)
class Observed:
    """Counts of a net's layers, the names of their classes, and the steps until scores are there, None without a readout."""

    counts: list[LayerCounts]
    kinds: list[str]
    latency: int | None


@torch.no_grad()
def observed(net: nn.Module, x: Any, batch: int) -> Observed:
    """Run `net` on `x` and count."""
    checks.instance("net", net, nn.Module, "a torch.nn.Module")
    checks.batch("x", x, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    batch = checks.integer("batch", batch, 1)
    if len(x) == 0:
        raise ValueError("x must hold at least one sample")
    spiking = {isinstance(module, Synapses) for module in net.modules() if has_products(module)}
    if False in spiking and (True in spiking or any(isinstance(module, TTFSNode) for module in net.modules())):
        raise ValueError("net must have its weights in layers of firstspike.nn, or be a net of torch without spikes, got both")
    if spiking == {False}:
        return _of_numbers(net, x, batch)
    blocks = {block.layers[-1]: block for block in net.modules() if isinstance(block, Residual) and block.shortcut is None}
    layers: dict[str, tuple[str, dict[str, Any]]] = {}
    sums: dict[str, dict[str, float]] = {}
    latency: int | None = None
    with evaluating(net):
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            with Monitor(net) as seen:
                net(part)
            windowed = any(getattr(layer.module, "timing", None) == "windowed" for layer in seen.layers.values())
            for name, layer in seen.layers.items():
                if isinstance(layer.module, Synapses):
                    facts, numbers = _facts(layer, seen), _counts(layer, part)
                    if (block := blocks.get(layer.module)) is not None and layer.module.timing == "windowed":
                        _add_shortcut(block, seen, facts, numbers)
                elif windowed and isinstance(layer.module, EarliestPool2d | WindowedMaxPool2d):
                    facts, numbers = _pool(layer)
                else:
                    continue
                layers[name] = layer.kind, facts
                before = sums.setdefault(name, dict.fromkeys(numbers, 0.0))
                sums[name] = {key: before[key] + value for key, value in numbers.items()}
            latency = seen.readout_steps
    if not layers:
        raise ValueError("net must run layers of firstspike.nn, got none")
    means: dict[str, dict[str, Any]] = {name: {key: value / len(x) for key, value in sums[name].items()} for name in layers}
    counted = [LayerCounts(name=name, **facts, **means[name]) for name, (_, facts) in layers.items()]
    return Observed(counted, [kind for kind, _ in layers.values()], latency)


def _of_numbers(net: nn.Module, x: Any, batch: int) -> Observed:
    """Count the multiply-adds of a net of torch, whose layers get real numbers; its accumulators count as registers."""
    layers: list[LayerCounts] = []
    kinds: list[str] = []
    nonzero: list[float] = []
    with evaluating(net):
        for start in range(0, len(x), batch):
            with Products(net) as seen:
                net(x[start : start + batch])
            layers, kinds, nonzero = layers[:0], kinds[:0], nonzero or [0.0] * len(seen.calls)
            for n, (name, layer, received, output, *_) in enumerate(seen.calls):
                nonzero[n] += synaptic_operations((received != 0).float(), layer)
                macs = synaptic_operations(torch.ones_like(received[:1]), layer)
                geometry = _geometry(layer, received, output[0].numel())
                layers.append(LayerCounts(name=name, macs=macs, direct_macs=macs, **geometry))
                kinds.append(class_name(layer))
    means = [replace(layer, nonzero_macs=value / len(x)) for layer, value in zip(layers, nonzero, strict=True)]
    return Observed(means, kinds, None)


def _geometry(layer: Any, places: Tensor, neurons: int) -> dict[str, Any]:
    """The sizes of a layer, of `LayerCounts`; places: its input [B, ...]."""
    weight, pool = weight_of(layer), getattr(layer, "avg_pool", 1)
    sizes = zip(weight.shape[2:], checks.pair("stride", getattr(layer, "stride", 1), 1), strict=False)
    return {
        "kind": "convolution" if weight.dim() == 4 else "linear",
        "neurons": neurons,
        "inputs": _pooled(places[:1], pool).numel(),
        "sources": places[0].numel(),
        "outputs": len(weight),
        "taps": math.prod(weight.shape[2:]),
        "reached": math.prod(math.ceil(kernel / stride) for kernel, stride in sizes),
        "groups": getattr(layer, "groups", 1),
        "weights": weight.numel(),
        "biased": getattr(layer, "bias", None) is not None,
    }


def _facts(seen: Seen, monitor: Monitor) -> dict[str, Any]:
    """What a layer is, of `LayerCounts`."""
    layer: Any = seen.module
    current = seen.spikes is None and layer is not monitor.readout and layer.timing == "windowed"  # a shortcut's
    places, steps = input_events(seen.received, layer)
    windowed = layer.timing == "windowed"
    return {
        **_geometry(layer, places, 0 if current else seen.neurons),
        **({"kind": "shortcut"} if current else {}),
        "timing": layer.timing,
        "in_steps": float(steps if windowed else 0),
        "steps": float(layer.steps if layer.timing == "step" or layer.fires else 0),
        "levels": steps + 1 if steps else 256,
        "leaks": not windowed and float(getattr(layer, "decay", 1.0)) != 1.0,
    }


def _counts(seen: Seen, x: Tensor | SpikeTimes) -> dict[str, float]:
    """Sums over the samples of one call of a layer; x: the net's input, whose zeros a normalisation would hide."""
    layer: Any = seen.module
    fired = torch.Size() if seen.spikes is None else seen.spikes.shape
    additions, direct_macs = additions_and_macs(layer, seen.received, seen.shortcut, fired)
    updates = membrane_updates(seen)
    output: Any = seen.membrane if seen.spikes is None else seen.spikes
    pool, (units, steps) = getattr(layer, "avg_pool", 1), input_events(seen.received, layer)
    raw = x.reshape(units.shape) if not steps and isinstance(x, Tensor) and x.numel() == units.numel() else units
    events = float(units.sum()) if steps else 0.0
    shortcut = 0.0 if seen.shortcut is None else float((shortcut_times(seen.shortcut, fired) != checks.SILENT).sum())
    return {
        "spikes": 0.0 if seen.spikes is None else float(seen.spikes.count().sum()),
        "events": events,
        "shortcut_events": 0.0 if seen.shortcut is None else float(seen.shortcut.count().sum()),
        "additions": additions,
        "shortcut_additions": shortcut,
        "direct_macs": direct_macs,
        "macs": products(_pooled(torch.ones_like(units), pool), layer),
        "nonzero_macs": products(_pooled((raw != 0).float(), pool), layer),
        "active": updates,
        "idle": all_updates(layer, seen.received, output) - updates,
    }


def _pooled(units: Tensor, pool: int) -> Tensor:
    """1 for each window of `units` [B, C, H, W] with a 1 in it."""
    return F.max_pool2d(units, pool) if pool > 1 else units


def _pool(seen: Seen) -> tuple[dict[str, Any], dict[str, float]]:
    """Facts and sums of a max pool of windows, a layer of neurons that fire with the first of their spikes."""
    pool: Any = seen.module
    received, spikes = seen.received, seen.spikes
    assert isinstance(received, SpikeTimes) and spikes is not None
    size = checks.pair("kernel_size", pool.kernel_size, 1)
    stride, padding = getattr(pool, "stride", size), getattr(pool, "padding", (0, 0))
    events = (~received.silent).float()
    reached = F.avg_pool2d(events, size, stride, padding, divisor_override=1)
    fired = float(spikes.count().sum())
    channels = spikes.shape[1]
    facts: dict[str, Any] = {"timing": "windowed", "kind": "pool", "neurons": seen.neurons, "outputs": channels, "biased": False}
    facts |= {
        "inputs": events[0].numel(),
        "sources": events[0].numel(),
        "taps": math.prod(size),
        "in_steps": float(received.steps),
    }
    facts["reached"] = math.prod(math.ceil(k / s) for k, s in zip(size, checks.pair("stride", stride, 1), strict=True))
    numbers = {"spikes": fired, "events": float(events.sum()), "additions": float(reached.sum()), "active": fired}
    return facts, numbers | {"idle": float(received.steps * spikes.times.numel()) - fired}


def _add_shortcut(block: Residual, monitor: Monitor, facts: dict[str, Any], numbers: dict[str, float]) -> None:
    """Add what the shortcut of a block of windows costs where it is no layer: one addition per spike, and one more window."""
    first: Any = block.layers[0]
    received = next(layer.received for layer in monitor.layers.values() if layer.module is first)
    assert isinstance(received, SpikeTimes)
    spikes, pool = (~received.silent).float(), getattr(first, "avg_pool", 1)
    used = _pooled_sum(spikes, pool)
    neurons = float(facts["neurons"] * len(spikes))
    active = sum(float((_pooled((received.times <= step).float(), pool) > 0).sum()) for step in range(received.steps))
    facts["in_steps"] += received.steps
    numbers["shortcut_events"] += float(spikes.sum())
    numbers["shortcut_additions"] += used
    numbers["additions"] += used
    numbers["active"] += active
    numbers["idle"] += neurons * received.steps - active


def _pooled_sum(units: Tensor, pool: int) -> float:
    """The sum of the units that average pooling does not leave out."""
    return float((F.avg_pool2d(units, pool, divisor_override=1) if pool > 1 else units).sum())
