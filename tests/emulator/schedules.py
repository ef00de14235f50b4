"""Nets of windows in two other orders, one neuron after another: each takes its spikes sorted by time, or as levels."""

from __future__ import annotations

import numpy as np

from .golden import policy
from .golden_windowed import tables


def neuron_by_neuron(program, times):
    """(times, last membranes) of each layer: int [B, neurons] each.

    A neuron's membrane and current stay in two variables from its first spike to its own: its memory is visited once.
    """
    return _run(program, times, _sorted_by_time)


def with_payload(program, times):
    """The same from levels, T - t of a spike in step t of T: one product per synapse; where no register overflows."""
    return _run(program, times, _by_levels)


def _run(program, times, neuron):
    trains, made = {-1: times}, []
    for index, layer in enumerate(program.layers):
        sites = layer.neurons // layer.out_shape[2]
        theta, bias = np.tile(layer.reached, sites), np.tile(layer.bias, sites)
        rise = np.zeros_like(theta) if layer.neuron.kind == "pool" else np.tile(layer.neuron.rise, sites)
        inputs = [(source, window, weights << layer.shift) for source, window, weights, _ in tables(layer)]
        fired = np.full((len(times), layer.neurons), 255, np.uint8)
        membrane = np.zeros((len(times), layer.neurons), np.int64)
        for sample in range(len(times)):
            for n in range(layer.neurons):
                events = [(source, window, trains[source][sample], weights[:, n]) for source, window, weights in inputs]
                fired[sample, n], membrane[sample, n] = neuron(layer, events, int(bias[n]), int(theta[n]), int(rise[n]))
        trains[index] = fired
        made.append((fired, membrane))
    return made


def _sorted_by_time(layer, events, v, theta, rise):
    """(time, last membrane) of a neuron: windows one after another, each with its spikes in the order of their times."""
    pool = layer.neuron.kind == "pool"
    for source in sorted({source for source, *_ in events}):
        window = next(window for other, window, *_ in events if other == source)
        queue = sorted((int(t), int(w)) for other, _, times, weights in events if other == source
                       for t, w in zip(times, weights, strict=True) if t != 255)  # fmt: skip
        current = at = 0
        for step in range(window):
            while at < len(queue) and queue[at][0] == step:
                current += queue[at][1]
                at += 1
            current = _held(layer.accumulator, current)
            v = _held(layer.membrane, v + current)
            if pool and v >= theta:
                return step, v
            current = 0 if pool else current
    for step in range(0 if pool else layer.steps):
        v = _held(layer.membrane, v + _held(layer.accumulator, rise))
        if v >= theta:
            return step, v
    return 255, v


def _by_levels(layer, events, v, theta, rise):
    """(time, last membrane): one product of weight and level per spike, then the step in which the rise reaches theta."""
    levels = [(window - int(t), int(w)) for _, window, times, weights in events
              for t, w in zip(times, weights, strict=True) if t != 255]  # fmt: skip
    if layer.neuron.kind == "pool":
        best = max((level for level, weight in levels if weight), default=0)
        return (events[0][1] - best if best else 255), v
    v += sum(level * weight for level, weight in levels)
    if not layer.fires:
        return 255, v
    step = max(-(-(theta - v) // rise) - 1, 0)
    return (step, v) if step < layer.steps else (255, v)


def _held(register, value):
    return int(policy(register, np.array([value]))[0][0])
