"""An independent model of the emulated core, written from docs/emulator.md: dense loops over explicit synapse
matrices, in int64.

It shares no code with firstspike.emulator; layers are read by attribute only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COUNTERS = ("spikes", "events", "delivered", "effective", "active", "accumulator_overflows", "membrane_overflows")


def unroll(layer):
    """(weights, synapses): int64 and bool [sources, neurons], both numbered row, column, channel."""
    in_h, in_w, in_c = layer.in_shape
    out_h, out_w, out_c = layer.out_shape
    k = layer.pool
    weights = np.zeros((in_h, in_w, in_c, out_h, out_w, out_c), np.int64)
    synapses = np.zeros(weights.shape, bool)
    pooled_h, pooled_w = in_h // k, in_w // k
    for y in range(pooled_h * k):
        for x in range(pooled_w * k):
            py, px = y // k, x // k
            if layer.kind == "linear":
                for c in range(in_c):
                    weights[y, x, c, 0, 0] = layer.weight[(py * pooled_w + px) * in_c + c]
                    synapses[y, x, c, 0, 0] = True
                continue
            kernel_h, kernel_w = layer.weight.shape[1:3]
            for oy in range(out_h):
                for ox in range(out_w):
                    ky = py + layer.padding[0] - oy * layer.stride[0]
                    kx = px + layer.padding[1] - ox * layer.stride[1]
                    if 0 <= ky < kernel_h and 0 <= kx < kernel_w:
                        weights[y, x, :, oy, ox] = layer.weight[:, ky, kx]
                        synapses[y, x, :, oy, ox] = True
    flat = (in_h * in_w * in_c, out_h * out_w * out_c)
    return weights.reshape(flat), synapses.reshape(flat)


def unroll_shortcut(layer):
    """(weights, synapses) of the shortcut, [sources, neurons]."""
    s = layer.shortcut
    in_h, in_w, in_c = s.in_shape
    out_h, out_w, out_c = layer.out_shape
    weights = np.zeros((in_h, in_w, in_c, out_h, out_w, out_c), np.int64)
    synapses = np.zeros(weights.shape, bool)
    for oy in range(out_h):
        for ox in range(out_w):
            for c in range(in_c):
                weights[oy * s.stride[0], ox * s.stride[1], c, oy, ox, c] = s.weight[c]
                synapses[oy * s.stride[0], ox * s.stride[1], c, oy, ox, c] = True
    flat = (in_h * in_w * in_c, out_h * out_w * out_c)
    return weights.reshape(flat), synapses.reshape(flat)


def policy(register, x):
    """(value, changed) for Python-wide integers in an int64 array."""
    if register.policy == "wrap":
        span = 2**register.bits
        y = (x - register.low) % span + register.low
    else:
        y = np.minimum(np.maximum(x, register.low), register.high)
    return y, y != x


def leaked(layer, v):
    neuron = layer.neuron
    return leak(neuron, v, neuron.keep) if neuron.decay_bits or shifts(neuron) else v


def shifts(neuron):
    return neuron.kind == "step" and neuron.leak == "shift"


def leak(neuron, v, keep):
    if shifts(neuron):
        share = v // 2**keep
        return v - np.where(share == 0, np.sign(v), share)
    return np.sign(v) * (np.abs(v) * keep // 2**neuron.decay_bits)


def pixel_times(layer, pixels):
    """Spike times [neurons] of one image, uint8 [sources], of a first layer on pixels."""
    weights, _ = unroll(layer)
    neuron = layer.neuron
    zero = np.resize(np.array(neuron.zero), layer.in_shape).ravel()
    sites = layer.out_shape[0] * layer.out_shape[1]
    coarse, theta, bias = (np.tile(x, sites) for x in (neuron.coarse, neuron.theta, neuron.bias))
    total = (pixels.astype(np.int64) - zero) @ weights + bias
    current = np.clip((total + 2**coarse // 2) >> coarse, 0, neuron.high) * 2**layer.shift
    v, times = np.zeros(len(current), np.int64), np.full(len(current), 255)
    for t in range(neuron.stop):
        v = leaked(layer, v) + current
        times[(times == 255) & (v >= theta if neuron.fire == "ge" else v > theta)] = t
    return times


@dataclass
class Result:
    times: list
    membrane: list  # [total_steps, neurons] per layer
    counters: np.ndarray  # [layers, 7]
    steps_run: int
    overshoot: np.ndarray


def run(layers, total_steps, times, early_exit=False):
    """One sample: times is uint8 [sources] of the first layer."""
    matrices = [unroll(layer) for layer in layers]
    beside = [None if layer.shortcut is None else unroll_shortcut(layer) for layer in layers]
    reads = [np.repeat(np.array([a.theta]), a.out_shape[0] * a.out_shape[1], 0).ravel() for a in layers]
    biases = [np.repeat(np.array([a.bias]), a.out_shape[0] * a.out_shape[1], 0).ravel() for a in layers]
    v, current = ([np.zeros(theta.size, np.int64) for theta in reads] for _ in range(2))
    fired_at = [np.full(theta.size, 255, np.uint8) for theta in reads]
    last_v = [x.copy() for x in v]  # the membrane as last computed, kept at a spike
    trace = [np.zeros((total_steps, theta.size), np.int64) for theta in reads]
    counts = np.zeros((len(layers), len(COUNTERS)), np.int64)
    steps_run = total_steps
    for t in range(total_steps):
        for n, layer in enumerate(layers):
            if not layer.start <= t < layer.stop:
                trace[n][t] = np.where(fired_at[n] == 255, v[n], 0)
                continue
            arriving = _sent(times if n == 0 else fired_at[n - 1], t - layer.delay)
            counts[n][1] += arriving.size
            weights, synapses = (x[arriving] for x in matrices[n])
            if layer.shortcut is not None:
                source = layer.shortcut.source
                more = _sent(times if source < 0 else fired_at[source], t - layer.shortcut.delay)
                weights, synapses = (np.concatenate([x, y[more]]) for x, y in zip((weights, synapses), beside[n], strict=True))
            register = None if layer.neuron.current is None else current[n]
            _step(layer, weights, synapses, reads[n], biases[n], v[n], register, last_v[n], fired_at[n], counts[n], t)
            trace[n][t] = np.where(fired_at[n] == 255, v[n], 0)
        if early_exit and (fired_at[-1] != 255).any():
            steps_run = t + 1
            break
    return Result(fired_at, trace, counts, steps_run, last_v[-1] - reads[-1])


def _sent(times, step):
    return np.flatnonzero(times == step) if step >= 0 else np.zeros(0, int)


def _step(layer, weights, synapses, theta, bias, v, current, last_v, fired_at, count, t):
    """weights, synapses: [events that arrive, neurons], in their order. current: None where the input lasts one step."""
    live, neuron = fired_at == 255, layer.neuron
    count[2] += synapses.sum()
    count[4] += (live & synapses.any(0)).sum()

    def fire(which):
        passes = v >= theta if neuron.fire == "ge" else v > theta
        now = which & passes & neuron.fires
        fired_at[now] = t
        count[0] += now.sum()

    if neuron.update == "clocked":
        count[3] += (synapses & live).sum()
        total = weights.sum(0) * 2**layer.shift
        if current is not None:
            total += current if shifts(neuron) else leak(neuron, current, neuron.current)
        total, changed = policy(layer.accumulator, total)
        count[5] += (changed & live).sum()
        if current is not None:
            current[:] = total = leak(neuron, total, neuron.current) if shifts(neuron) else total
        new, changed = policy(layer.membrane, leaked(layer, v) + total + bias)
        count[6] += (changed & live).sum()
        v[live] = new[live]
        last_v[live] = v[live]
        fire(live)
        return
    v[live] = leaked(layer, v)[live]
    for weight, synapse in zip(weights, synapses, strict=True):
        live = fired_at == 255
        hit = live & synapse
        count[3] += hit.sum()
        new, changed = policy(layer.membrane, v + weight * 2**layer.shift)
        count[6] += (changed & hit).sum()
        v[hit] = new[hit]
        last_v[live] = v[live]
        fire(hit)
    live = fired_at == 255
    new, changed = policy(layer.membrane, v + bias)
    count[6] += (changed & live).sum()
    v[live] = new[live]
    last_v[live] = v[live]
    fire(live)
