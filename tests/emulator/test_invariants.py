"""What must hold for any network, beyond equality with the golden model."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from firstspike.emulator.program.layers import Register
from firstspike.emulator.program.program import COUNTERS, Engine

from . import golden
from .nets import changed
from .networks import networks

SILENT = 255
WIDE = Register.of(50)
FREE = {"registers": {"policies": ("saturate", "wrap")}}
examples = settings(max_examples=150)


def run(layers, steps, total_steps, times, **options):
    return Engine(layers, steps).run(times, all_times=True, trace=True, **options)


def same(a, b):
    for x, y in (
        (a.counters, b.counters),
        (a.steps_run, b.steps_run),
        *zip(a.times, b.times, strict=True),
        *zip(a.membrane, b.membrane, strict=True),
    ):
        np.testing.assert_array_equal(x, y)


def widened(layers):
    return [layer.replace(accumulator=WIDE, membrane=WIDE) for layer in layers]


@examples
@given(networks(**FREE), st.integers(2, 5))
def test_threads_and_batch_split_change_nothing(network, threads):
    layers, steps, total, times = network
    many = np.tile(times, (40, 1))
    together = run(layers, steps, total, many, threads=1)
    same(together, run(layers, steps, total, many, threads=threads))
    alone = run(layers, steps, total, times, threads=1)
    np.testing.assert_array_equal(together.counters[: len(times)], alone.counters)
    np.testing.assert_array_equal(together.counters, np.tile(alone.counters, (40, 1, 1)))


@examples
@given(networks(updates=("clocked",), no_shortcut=True, **FREE), st.randoms(use_true_random=False))
def test_order_of_a_first_layers_sources_does_not_matter(network, random):
    """Permuting the sources permutes the order in which a step's events are delivered."""
    layers, steps, total, times = network
    first = layers[0]
    assume(first.kind == "linear" and first.pool == 1)
    order = list(range(times.shape[1]))
    random.shuffle(order)
    shape = (1, 1, times.shape[1])
    moved = [changed(first, weight=np.ascontiguousarray(first.weight[order]), in_shape=shape), *layers[1:]]
    same(run([changed(first, in_shape=shape), *layers[1:]], steps, total, times), run(moved, steps, total, times[:, order]))


@examples
@given(networks(**FREE))
def test_at_most_one_spike_and_operations_are_spikes_times_fan_out(network):
    layers, steps, total, times = network
    raw = run(layers, steps, total, times)
    sent = [*raw.times, times]  # by index; -1 is the input

    def arrive(source, layer, delay):
        at = source.astype(int) + delay
        return (source != SILENT) & (at < layer.stop) & (at >= layer.start)

    for n, layer in enumerate(layers):
        count = dict(zip(COUNTERS, raw.counters[:, n].T, strict=True))
        np.testing.assert_array_equal(count["spikes"], (raw.times[n] != SILENT).sum(1))
        own = arrive(sent[n - 1], layer, layer.delay)
        delivered = (own * golden.unroll(layer)[1].sum(1)).sum(1)
        if layer.shortcut is not None:
            beside = arrive(sent[layer.shortcut.source], layer, layer.shortcut.delay)
            delivered += (beside * golden.unroll_shortcut(layer)[1].sum(1)).sum(1)
            assert golden.unroll_shortcut(layer)[1].sum() == layer.shortcut.synapses
        np.testing.assert_array_equal(count["events"], own.sum(1))
        np.testing.assert_array_equal(count["delivered"], delivered)
        assert (count["effective"] <= count["delivered"]).all()


@examples
@given(networks(positive_theta=True, **FREE), st.data())
def test_a_higher_theta_never_makes_its_neuron_earlier(network, data):
    layers, steps, total, times = network
    assume(layers[-1].fires)
    last = layers[-1]
    channel = data.draw(st.integers(0, last.out_shape[2] - 1))
    theta = last.theta.copy()
    theta[channel] += data.draw(st.integers(1, 1000))
    before = run(layers, steps, total, times).times[-1].reshape(len(times), -1, last.out_shape[2])
    after = run([*layers[:-1], changed(last, theta=theta)], steps, total, times).times[-1].reshape(before.shape)
    assert (after[..., channel] >= before[..., channel]).all()
    others = np.arange(last.out_shape[2]) != channel
    np.testing.assert_array_equal(after[..., others], before[..., others])


@examples
@given(networks(no_bias=True))
def test_where_the_static_bound_holds_no_policy_matters(network):
    layers, *rest = network

    def held(bits, policy):
        register = Register.of(bits, policy=policy)
        return [layer.replace(accumulator=register, membrane=register) for layer in layers]

    for bits in (8, 12, 16, 24, 40):
        if all(all(layer.overflow_free().values()) for layer in held(bits, "wrap")):
            first, *others = (run(held(bits, policy), *rest) for policy in ("saturate", "wrap", "error"))
            for other in others:
                same(first, other)
            assert first.counters[:, :, 5:].sum() == 0
            return


@examples
@given(networks(no_bias=True, positive_theta=True, **FREE), st.integers(1, 5))
def test_later_inputs_make_everything_later(network, shift):
    layers, steps, total, times = network
    layers = [changed(layer, start=0, stop=total) for layer in layers]
    later = np.where(times == SILENT, SILENT, times + shift).astype(np.uint8)
    longer = [changed(layer, stop=total + shift) for layer in layers]
    a, b = run(layers, steps, total, times), run(longer, steps + shift, total + shift, later)
    for x, y in zip(a.times, b.times, strict=True):
        np.testing.assert_array_equal(np.where(x == SILENT, SILENT, x + shift), y)
    np.testing.assert_array_equal(a.counters, b.counters)


@examples
@given(networks(no_leak=True), st.integers(2, 9))
def test_scaling_weights_thetas_and_biases_changes_nothing(network, factor):
    layers, steps, total, times = network
    layers = widened(layers)
    strict = [
        changed(
            layer,
            layer.shortcut and layer.shortcut.replace(weight=layer.shortcut.weight * np.int32(factor)),
            theta=layer.theta * factor,
            bias=layer.bias * factor,
            weight=(layer.weight.astype(np.int64) * factor).astype(np.int32),
        )
        for layer in layers
    ]
    a, b = run(layers, steps, total, times), run(strict, steps, total, times)
    np.testing.assert_array_equal(a.counters, b.counters)
    for x, y in zip(a.times, b.times, strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(a.membrane, b.membrane, strict=True):
        np.testing.assert_array_equal(x * factor, y)


@examples
@given(networks(positive_theta=True, no_shortcut=True, **FREE))
def test_pooled_and_convolutional_layers_are_their_unrolled_matrix(network):
    """As a linear layer with one row per source; absent synapses are zero weights, so operations differ.

    Thetas are positive: a zero weight is an event all the same, and after a leak it can find a negative theta passed.
    """
    layers, steps, total, times = network
    raw = run(layers, steps, total, times)
    flat = []
    for layer in layers:
        matrix, _ = golden.unroll(layer)
        sites = layer.out_shape[0] * layer.out_shape[1]
        flat.append(
            changed(
                layer,
                kind="linear",
                weight=matrix.astype(np.int32),
                pool=1,
                in_shape=(1, 1, len(matrix)),
                out_shape=(1, 1, layer.neurons),
                theta=np.tile(layer.theta, sites),
                bias=np.tile(layer.bias, sites),
                scale=np.ones(layer.neurons),
            )
        )
    unrolled = run(flat, steps, total, times)
    np.testing.assert_array_equal(raw.counters[:, :, [0, 1, 5]], unrolled.counters[:, :, [0, 1, 5]])
    for x, y in zip((*raw.times, *raw.membrane), (*unrolled.times, *unrolled.membrane), strict=True):
        np.testing.assert_array_equal(x, y)


@examples
@given(networks(positive_theta=True, all_fire=True, **FREE))
def test_early_exit_changes_nothing_up_to_its_step(network):
    layers, steps, total, times = network
    whole, exited = run(layers, steps, total, times), run(layers, steps, total, times, early_exit=True)
    for b, end in enumerate(exited.steps_run):
        for x, y, v, w in zip(whole.times, exited.times, whole.membrane, exited.membrane, strict=True):
            np.testing.assert_array_equal(np.where(x[b] < end, x[b], SILENT), y[b])
            np.testing.assert_array_equal(v[b, :end], w[b, :end])
        first = whole.times[-1][b].min()
        assert end == (total if first == SILENT else first + 1)


@examples
@given(networks(updates=("clocked",), no_leak=True, no_bias=True, positive_theta=True, no_shortcut=True))
def test_single_events_make_step_and_event_the_same(network):
    """With at most one event per step, testing after the event is testing after the step."""
    layers, steps, total, times = network
    one = np.full_like(times[:1], SILENT)
    for t in range(min(steps, times.shape[1])):
        one[0, t] = t
    first = [changed(widened(layers)[0], start=0, stop=total)]
    same(run(first, steps, total, one), run([changed(first[0], update="event")], steps, total, one))
