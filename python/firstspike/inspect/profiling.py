"""What a net costs per sample, layer by layer: spikes, operations, energy, and the same for its dense counterpart."""

from __future__ import annotations

import math
import os
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import energy
from .._base import checks
from .._base.modules import evaluating
from ..energy import EnergyTable
from ..nn import Synapse
from ..spikes import SpikeTimes
from .monitor import Monitor, Seen
from .operations import (
    active_in_step,
    additions_and_macs,
    has_products,
    is_train,
    products,
    shortcut_times,
)

TOTAL = "total"


def profile(
    net: nn.Module, x: Any, table: str | os.PathLike[str] | EnergyTable = "45nm-integer", *, batch: int = 256
) -> pd.DataFrame:
    """Spikes, operations and energy per sample of each layer of `net`, means over the samples of `x`.

    net: a net of layers of `firstspike.nn`, which runs in evaluation mode. x: its input, a tensor [B, ...] or `SpikeTimes`.
    table: an energy table by name (`firstspike.energy.names()`), a TOML file, or an `EnergyTable`. batch: samples per forward
    pass.

    One row per layer and a last row "total", with the columns

    - `layer`, `kind`: its name in the net and its class; `neurons`; `spikes`: that the layer sends;
    - `synaptic_operations`: additions of one weight, an input spike times the neurons that it reaches; a shortcut's included;
    - `macs`: multiply-accumulates of a directly coded layer, once per sample; without those of taps in the padding, which the
      host layer of an emulator's report includes;
    - `dense_macs`: multiply-accumulates of the same layer with ReLU neurons;
    - `updates`: potentials that an event (or a directly coded current) changes before the neuron fires, per neuron and step;
    - `idle_updates`: the other neurons and steps, which only a clocked core pays;
    - `energy_nj`: of synaptic operations (of a convolution by its own figure, where the table has one), updates, spikes
      and `macs`, as far as the table has figures. A spike costs `fired_pj` and one transport, `message_pj` or else
      `spike_pj`. Hops and static power are not counted. A table whose operation includes everything, such as
      "odin-frenkel2019", counts synaptic operations and `macs` alone;
    - `idle_energy_nj`: of `idle_updates`; `dense_energy_nj`: of `dense_macs`; both NaN where the table has no figure;
    - `steps_to_decision`: mean over samples, counted from 1, in steps of what the readout got (all of them without a
      decision), in the row "total"; NaN elsewhere, and for a net without a readout.

    Examples
    --------
    >>> table = profile(models.mlp("64-32-10", steps=8), torch.rand(20, 64))
    >>> table["layer"].tolist()
    ['layers.0', 'layers.1', 'total']
    """
    checks.instance("net", net, nn.Module, "a torch.nn.Module")
    checks.batch("x", x, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    batch = checks.integer("batch", batch, 1)
    figures = energy.load(table)
    if len(x) == 0:
        raise ValueError("x must hold at least one sample")
    sums, decisions = _run(net, x, batch)
    rows = [{**row, **{name: row[name] / len(x) for name in _SUMS}} for row in sums.values()]
    for row in rows:
        row |= _energies(row, figures, row.pop("convolution"))
    whole: dict[str, Any] = {"layer": TOTAL, "kind": ""}
    for name in ("neurons", *_SUMS, *_ENERGIES):
        whole[name] = sum(row[name] for row in rows)
    whole["steps_to_decision"] = decisions / len(x) if decisions is not None else math.nan
    return pd.DataFrame([*rows, whole])


_SUMS = ("spikes", "synaptic_operations", "macs", "dense_macs", "updates", "idle_updates")
_ENERGIES = ("energy_nj", "idle_energy_nj", "dense_energy_nj")


@torch.no_grad()
def _run(net: nn.Module, x: Any, batch: int) -> tuple[dict[str, dict[str, Any]], float | None]:
    """The sums over all samples by layer, and of the steps to decision."""
    sums: dict[str, dict[str, Any]] = {}
    decisions: float | None = None
    for name, module in net.named_modules():
        if has_products(module) and not isinstance(module, Synapse):
            kind = f"{type(module).__name__} at {name!r}, which OperationCounter counts"
            raise ValueError(f"net must have its weights in layers of firstspike.nn, got {kind}")
    with evaluating(net):
        for start in range(0, len(x), batch):
            with Monitor(net) as seen:
                net(x[start : start + batch])
            for name, layer in seen.layers.items():
                if isinstance(layer.module, Synapse):
                    about = {"layer": name, "kind": layer.kind, "convolution": layer.module.weight.dim() == 4}
                    row = sums.setdefault(name, about | {"neurons": layer.neurons})
                    for key, value in _counts(layer).items():
                        row[key] = row.get(key, 0.0) + value
            if seen.decision_step is not None:
                steps = (seen.decision_step + 1).clamp(max=seen.readout_steps)
                decisions = (decisions or 0.0) + float(steps.sum())
    if not sums:
        raise ValueError("net must run layers of firstspike.nn, got none")
    return sums, decisions


def _counts(seen: Seen) -> dict[str, float]:
    """Sums over the samples of one call of a layer."""
    layer: Any = seen.module
    received, fired = seen.received, None if seen.spikes is None else seen.spikes.times
    outputs = torch.Size() if fired is None else fired.shape
    additions, macs = additions_and_macs(layer, received, seen.shortcut, outputs)
    side = None if seen.shortcut is None else shortcut_times(seen.shortcut, outputs)

    def active(events: Tensor, step: int) -> float:
        alive = None if fired is None else fired >= step
        return active_in_step(events, layer, None if side is None else side == step, alive)

    if isinstance(received, SpikeTimes):
        events: Tensor = (~received.silent).float()
        updates = sum(active((received.times == step).float(), step) for step in range(received.steps))
    elif is_train(received, layer):
        events = received[0]
        updates = sum(active(train, step) for step, train in enumerate(received))
    else:
        events = received
        updates = float(seen.neurons * layer.steps * len(received))
        if fired is not None:
            updates = float((fired.float() + 1).clamp(max=layer.steps).sum())
    pool = getattr(layer, "avg_pool", 1)
    ones = torch.ones_like(events)
    return {
        "spikes": 0.0 if seen.spikes is None else float(seen.spikes.count().sum()),
        "synaptic_operations": additions,
        "macs": macs,
        "dense_macs": products(F.avg_pool2d(ones, pool) if pool > 1 else ones, layer),
        "updates": updates,
        "idle_updates": float(seen.neurons * layer.steps * len(events)) - updates,
    }


def _energies(row: dict[str, Any], table: EnergyTable, convolution: bool) -> dict[str, float]:
    """Nanojoule per sample."""

    def cost(picojoule: float | None, name: str) -> float:
        return math.nan if picojoule is None else picojoule * row[name] / 1e3

    parts = [cost(table.operation_pj(convolution), "synaptic_operations"), cost(table.host_mac_pj, "macs")]
    if not table.all_inclusive:
        transport = table.spike_pj if table.message_pj is None else table.message_pj
        parts += [cost(table.update_active_pj, "updates"), cost(transport, "spikes"), cost(table.fired_pj, "spikes")]
    return {
        "energy_nj": sum(part for part in parts if not math.isnan(part)),
        "idle_energy_nj": math.nan if table.all_inclusive else cost(table.update_inactive_pj, "idle_updates"),
        "dense_energy_nj": cost(table.host_mac_pj, "dense_macs"),
    }
