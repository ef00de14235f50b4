"""Nets of windows in NumPy, step by step, from docs/emulator.md; every layer is a table of its synapses."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .golden import policy


def table(shape, weight, kind, *, pool=1, stride=(1, 1), padding=(0, 0), groups=1):
    """What a spike of each source adds to each neuron, int64 [sources, neurons], numbered row, column, channel."""
    height, width, channels = shape
    units = torch.eye(height * width * channels, dtype=torch.float64).reshape(-1, *shape).permute(0, 3, 1, 2)
    pooled = F.avg_pool2d(units, pool, divisor_override=1)
    taps = torch.from_numpy(np.ascontiguousarray(weight)).double()
    if kind == "diagonal":
        kind, taps, groups = "conv", taps.reshape(1, 1, 1, -1), channels
    if kind == "linear":
        made = pooled.permute(0, 2, 3, 1).flatten(1) @ taps
    else:
        made = F.conv2d(pooled, taps.permute(3, 0, 1, 2), None, stride, padding, groups=groups)
        made = made.permute(0, 2, 3, 1).flatten(1)
    return made.round().long().numpy()


def tables(layer):
    """(source, window, weights, 1 where there is a synapse) of each input."""
    for part in layer.inputs:
        how = {"pool": part.pool, "stride": part.stride, "padding": part.padding, "groups": part.groups}
        weights = (table(part.in_shape, x, part.kind, **how) for x in (part.weight, part.weight * 0 + 1))
        yield part.source, part.window, *weights


def step_by_step(program, times):
    """(times of each layer, its membrane in each step, its counters [B, 7]) in order."""
    trains = {-1: times}
    made = []
    for index, layer in enumerate(program.layers):
        batch, sites = len(times), layer.neurons // layer.out_shape[2]
        v = np.broadcast_to(np.tile(layer.bias, sites), (batch, layer.neurons))
        fired = np.full((batch, layer.neurons), 255, np.uint8)
        counters = np.zeros((batch, 7), np.int64)
        pools = layer.neuron.kind == "pool"
        theta, rise = np.tile(layer.reached, sites), 0 if pools else np.tile(layer.neuron.rise, sites)
        trace = []

        def update(v, current, fired, test, t, counters=counters, layer=layer, theta=theta, trace=trace):
            live = fired == 255
            now, changed = policy(layer.accumulator, current)
            after, membrane_changed = policy(layer.membrane, v + now)
            counters[:, 4] += (live & (now != 0)).sum(1)
            counters[:, 5] += (live & changed).sum(1)
            counters[:, 6] += (live & membrane_changed).sum(1)
            v = np.where(live, after, v)
            fires = live & (v >= theta) & test
            counters[:, 0] += fires.sum(1)
            fired = np.where(fires, t, fired).astype(np.uint8)
            trace.append(np.where(fired == 255, v, 0))
            return v, now, fired

        inputs = list(tables(layer))
        for source in sorted({one[0] for one in inputs}):
            current = np.zeros(v.shape, np.int64)
            parts = [one for one in inputs if one[0] == source]
            for t in range(parts[0][1]):
                spikes = (trains[source] == t).astype(np.int64)
                for _, _, weights, connected in parts:
                    current = current + (spikes @ weights << layer.shift)
                    arriving = spikes @ connected
                    counters[:, 2] += arriving.sum(1)
                    counters[:, 3] += (arriving * (fired == 255)).sum(1)
                counters[:, 1] += spikes.sum(1) * (source == index - 1)
                v, current, fired = update(v, current, fired, pools, t)
                current = current * (not pools)
        for t in range(0 if pools else layer.steps):
            v, _, fired = update(v, np.broadcast_to(rise, v.shape), fired, True, t)
        trains[index] = fired
        made.append((fired, np.stack(trace, 1), counters))
    return made
