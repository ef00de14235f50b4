"""Energies of a record's net in every schedule and model, from what the record holds.

Records hold sums over all layers of additions, multiply-adds and updates, and the spikes of each layer that fires. Geometry
follows from the settings. Events of the input follow from the sum of the additions. Spikes of average pooled and padded maps
count as spread evenly. Records do not hold what a max pool sends, nor, behind an average pool or directly coded pixels, which
inputs of a ReLU net would be 0: what needs them is None. An average pool of the readout alone counts each of its spikes.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from firstspike import energy, inspect, train
from firstspike.energy import LayerCounts

from .cost import shape_of
from .runs import Run

Record = dict[str, Any]
TABLE = "45nm-integer"
SHORT = 15  # input steps of "clocked, short"


def energies(record: Record) -> dict[str, float | None]:
    """Nanojoules per image, None where the record does not hold what is needed.

    By schedule of `energy.SCHEDULES` but "event"; "clocked, short", with as many spikes and `SHORT` input steps, which first
    layers are updated in; "lemaire"; and of the same net with ReLU "relu", "relu_bits", "relu_nonzero", "relu_lemaire".
    """
    layers = _geometry(Run.of(record["spec"]))
    whole = _whole(record, layers)
    windowed = layers[0].timing == "windowed"
    found: dict[str, float | None] = dict.fromkeys(("neuron-by-neuron", "payload", "clocked, short", "lemaire", "relu_nonzero"))
    for schedule in ("clocked", "neuron-by-neuron", "payload") if windowed else ("clocked",):
        found[schedule] = energy.accounts(whole, TABLE, schedule).total
    if windowed:
        saved = layers[0].neurons * max(0.0, layers[0].in_steps - SHORT)
        shorter = replace(whole[0], active=whole[0].active - saved)
        found["clocked, short"] = energy.accounts([shorter, *whole[1:]], TABLE).total
    if all(layer.kind != "pool" for layer in layers):
        found["lemaire"] = energy.lemaire.spiking_nj(by_layer(record, layers))
    if windowed and all(layer.inputs == layer.sources for layer in layers[:-1]):
        found["relu_nonzero"] = energy.relu([replace(whole[0], macs=whole[0].additions)], TABLE)
    partners = {"relu": energy.relu(layers, TABLE), "relu_bits": energy.relu(layers, TABLE, bits="equal")}
    return {**found, **partners, "relu_lemaire": energy.lemaire.relu_nj(layers)}


def by_layer(record: Record, layers: list[LayerCounts]) -> list[LayerCounts]:
    """The counts of a net without max pools, with the spikes of a record."""
    sent = [rate * layer.neurons for rate, layer in zip(record["results"]["test"]["spikes_per_layer"], layers, strict=False)]
    hidden = [
        replace(layer, events=spikes, additions=spikes * layer.macs / layer.inputs, direct_macs=0.0)
        for spikes, layer in zip(sent, layers[1:], strict=False)
    ]
    first = layers[0]
    if not first.direct_macs:
        rest = record["results"]["operations"]["additions"] - sum(layer.additions for layer in hidden)
        first = replace(first, events=rest * first.inputs / first.macs, additions=rest)
    spikes = [*sent, *[0.0] * (len(layers) - len(sent))]
    return [replace(layer, spikes=number) for layer, number in zip([first, *hidden], spikes, strict=True)]


def _whole(record: Record, layers: list[LayerCounts]) -> list[LayerCounts]:
    """One layer with the sums of a record, and the max pools, whose additions are not in it."""
    counted = record["results"]["operations"]
    neurons = sum(layer.neurons for layer in layers if layer.kind != "pool")
    whole = replace(
        layers[0],
        name="net",
        neurons=neurons,
        additions=counted["additions"],
        direct_macs=counted["macs"],
        active=counted["updates"],
        idle=0.0,
        in_steps=counted["updates"] / neurons,
        steps=0.0,
    )
    pools = [layer for layer in layers if layer.kind == "pool"]
    return [whole, *(replace(pool, additions=0.0, active=0.0, idle=pool.neurons * pool.in_steps) for pool in pools)]


@lru_cache(maxsize=256)
def _geometry(run: Run) -> list[LayerCounts]:
    """The layers of a run's net, without counts that depend on its weights."""
    shape = shape_of(run)
    net = train.build_model(run.config, input_shape=shape).eval()
    sample = torch.zeros(1, *shape, dtype=torch.uint8)
    return [replace(layer, spikes=0.0, events=0.0, additions=0.0) for layer in inspect.counts(net, sample)]
