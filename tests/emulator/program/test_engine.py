"""The edge of the C++ module: wrong sizes, types and values give errors that name them, never a crash."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from firstspike._base import _emulator
from firstspike.emulator.program.layers import Register, WindowedNeuron
from firstspike.emulator.program.program import Engine, OverflowRefused, Program

from ..nets import chained, dense
from ..networks import networks, windowed_programs


def layer(**changes):
    return dense([[3, -2], [1, 5]], [3, 4], **changes)


def core(**changes):
    return Engine([layer(**changes)], 4)


def test_by_hand():
    """Source 0 fires in step 1, source 1 in step 2: V = (3, -2) in step 1, neuron 0 reaches 3; neuron 1 gets -2 + 5 =
    3 < 4."""
    raw = core().run(np.array([[1, 2]], np.uint8), all_times=True, trace=True)
    assert raw.times[0].tolist() == [[1, 255]]
    assert raw.membrane[0][0].tolist() == [[0, 0], [0, -2], [0, 3], [0, 3]]
    assert raw.overshoot.tolist() == [[0, -1]]
    #                              spikes, events, delivered, effective, active, overflows
    assert raw.counters[0, 0].tolist() == [1, 2, 4, 3, 3, 0, 0]


@pytest.mark.parametrize(
    ("times", "error", "text"),
    [
        (np.zeros((1, 2), np.int64), TypeError, "uint8"),
        (np.zeros((1, 3), np.uint8), ValueError, r"\[batch, 2\]"),
        (np.zeros(2, np.uint8), ValueError, "2 dimensions"),
        (np.full((1, 2), 4, np.uint8), ValueError, "below steps = 4"),
        (np.full((3, 2), 254, np.uint8), ValueError, "got 254 in sample 0, neuron 0"),
    ],
)
def test_bad_times(times, error, text):
    with pytest.raises(error, match=text):
        core().run(times)


@pytest.mark.parametrize("threads", [0, -1, 5000])
def test_bad_threads(threads):
    with pytest.raises(ValueError, match="threads must be from 1 to 1024"):
        core().run(np.zeros((1, 2), np.uint8), threads=threads)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "pool"}, "kind"),
        ({"weight": np.zeros((2, 2))}, "signed integers"),
        ({"weight": np.zeros((3, 2), np.int8)}, "layer a: its weight must have shape"),
        ({"theta": np.array([1])}, "theta"),
        ({"bias": np.zeros(2, np.int32)}, "bias"),
        ({"start": 4}, "stop must be from 5 to 254, got 4"),
        ({"delay": 300}, "delay"),
        ({"shift": 40}, "shift"),
        ({"decay_bits": 20}, "decay_bits"),
        ({"keep": 3}, "keep"),
        ({"current": 3}, "current"),
        ({"current": 1, "update": "event"}, "clocked"),
        ({"pool": 2}, "shape|pool"),
        ({"theta": np.array([1, 1 << 61])}, "theta"),
        ({"scale": np.zeros(2)}, "scale"),
        ({"fire": "eq"}, "fire"),
        ({"update": "never"}, "update"),
    ],
)
def test_bad_layers(changes, text):
    with pytest.raises((ValueError, TypeError), match=text):
        core(**changes)


def test_layers_must_fit_each_other():
    second = layer(name="b", weight=np.zeros((3, 2), np.int8), in_shape=(1, 1, 3))
    with pytest.raises(ValueError, match="layer b: its input shape"):
        Engine(chained([layer(), second]), 4)
    with pytest.raises(ValueError, match="never fires"):
        Engine(chained([layer(fires=False), layer(name="b")]), 4)


def test_early_exit_needs_a_layer_that_fires():
    with pytest.raises(ValueError, match="early exit"):
        core(fires=False).run(np.zeros((1, 2), np.uint8), early_exit=True)


def test_policy_error_names_where():
    tight = core(membrane=Register.of(3, policy="error"))
    with pytest.raises(OverflowRefused, match=r"layer a: the membrane \(3 bits, -4 to 3\) overflowed 1 times in sample 1"):
        tight.run(np.array([[255, 255], [255, 0]], np.uint8))


NUMBERS = st.sampled_from([-1, 0, 1, 2, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 63) - 1, 1 << 64])
OBJECTS = st.sampled_from([None, True, "x", 2.5, [], {}])


def plain(value):
    """A record as what the core reads of it: the names and values of its fields, whatever they are."""
    if isinstance(value, BaseModel):
        names = (name for name in {*type(value).model_fields, "start", "bias"} if hasattr(value, name))
        return SimpleNamespace(**{name: plain(getattr(value, name)) for name in names})
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def spoiled(data, value):
    """Something in the place of a field of a layer: another object, number, size, type, order or element."""
    fields = vars(value) if isinstance(value, SimpleNamespace) else value
    if isinstance(fields, dict | list) and fields and data.draw(st.integers(0, 9)):
        made = fields.copy()
        key = data.draw(st.sampled_from(sorted(made) if isinstance(made, dict) else range(len(made))))
        made[key] = spoiled(data, made[key])
        return SimpleNamespace(**made) if isinstance(made, dict) else made
    if not isinstance(value, np.ndarray) or not value.size:
        return data.draw(NUMBERS | OBJECTS)
    changed, shifted = value.copy(), np.frombuffer(bytearray(1 + value.nbytes), np.uint8)[1:].view(value.dtype)
    ends = np.iinfo(value.dtype)
    changed.flat[data.draw(st.integers(0, value.size - 1))] = data.draw(st.sampled_from([-1, 0, ends.min, ends.max]))
    ways = [changed, shifted.reshape(value.shape), value[:-1], value[None], value.repeat(2)[::2], value.byteswap()]
    return data.draw(st.sampled_from([*ways, value.astype(np.float64), value.astype(">i8"), value.tolist(), None]))


@settings(max_examples=200)
@given(networks() | windowed_programs(), st.data())
def test_any_field_of_any_value_gives_an_error_or_works(made, data):
    """What AddressSanitizer watches in `nox -s sanitize`: no layer and no times that were spoiled do harm."""
    layers, steps, times = (made[0].layers, made[0].steps, made[1]) if isinstance(made[0], Program) else (*made[:2], made[3])
    network, changed = _emulator.Network(steps), data.draw(st.integers(-1, len(layers) - 1))
    try:
        for index, each in enumerate(map(plain, layers)):
            network.add(spoiled(data, each) if index == changed else each)
        network.run(times if changed >= 0 else spoiled(data, times), 1, False, True, True)
    except (ValueError, TypeError, AttributeError, MemoryError):
        pass


def states(*events, **changes):
    """The membrane of a neuron in each of four steps; an event of each weight arrives in its step."""
    weight = np.array([[weight] for weight in events], np.int32)
    wide = {"accumulator": Register.of(50), "membrane": Register.of(50)}
    layer = dense(np.ones(weight.shape), [1 << 45], **wide | {"weight": weight} | changes)
    core = Engine([layer], 4)
    raw = core.run(np.arange(len(events), dtype=np.uint8)[None], trace=True)
    return raw.membrane[0].flatten().tolist()


@pytest.mark.parametrize("wide", [30, 50])  # in registers of 32 and of 64 bits
@pytest.mark.parametrize(
    ("register", "weight", "expected"),
    [
        (Register.of(4), 7, 7),
        (Register.of(4), 8, 7),
        (Register.of(4), -9, -8),
        (Register.of(4, "symmetric"), -9, -7),
        (Register.of(8, "unsigned"), -1, 0),
        (Register.of(8, "unsigned"), 256, 255),
        (Register.of(4, policy="wrap"), 8, -8),  # 1000 in four bits
        (Register.of(4, policy="wrap"), -9, 7),  # 10111 without its fifth bit
        (Register.of(4, policy="wrap"), -17, -1),
        (Register.of(8, "unsigned", "wrap"), 256, 0),
        (Register.of(8, "unsigned", "wrap"), -1, 255),
        (Register.of(24, policy="wrap"), -(2**23) - 1, 2**23 - 1),
    ],
)
def test_registers_by_hand(register, weight, expected, wide):
    theta = np.array([1 << (wide - 2)])
    for name in ("accumulator", "membrane"):
        other = {"accumulator": Register.of(wide), "membrane": Register.of(wide), name: register, "theta": theta}
        assert states(weight, **other)[0] == expected


@pytest.mark.parametrize(
    ("weight", "keep", "bits", "expected"),
    [(100, 3072, 12, 75), (-100, 3072, 12, -75), (1, 4095, 12, 0), (-1, 4095, 12, 0), (-7, 1, 1, -3), (-5, 16, 4, -5)],
)
def test_leak_rounds_toward_zero(weight, keep, bits, expected):
    assert states(weight, keep=keep, decay_bits=bits, accumulator=Register.of(40), membrane=Register.of(40))[1] == expected


def test_leak_by_shift_takes_at_least_one():
    """100 less 100 / 8, rounded down; -100 less -100 / 8, rounded down, is -87; 3 and -1 less one toward zero."""
    for weight, expected in ((100, [100, 88, 77, 68]), (-100, [-100, -87, -76, -66]), (3, [3, 2, 1, 0]), (-1, [-1, 0, 0, 0])):
        assert states(weight, leak="shift", keep=3, accumulator=Register.of(40), membrane=Register.of(40)) == expected


def test_currents_by_hand():
    """Scale: I = 100, 50, 25, 12 and V their sum. Shift: I = 100 - 25 = 75, 57 = 75 - 18, 43, 33; V = V - V / 2 + I."""
    wide = {"accumulator": Register.of(40), "membrane": Register.of(40)}
    assert states(100, current=8, keep=16, decay_bits=4, **wide) == [100, 150, 175, 187]
    assert states(100, current=2, keep=1, leak="shift", **wide) == [75, 95, 91, 79]


@pytest.mark.parametrize("steps", [0, 256, 255])
def test_bad_steps(steps):
    """A step-by-step net has 254 steps at most; only the input of a net of windows has 255."""
    with pytest.raises(ValueError, match="steps.* must be from 1 to 25[45]"):
        Engine([layer()], steps)


def test_timings_do_not_mix():
    other = layer(name="b", source=0)
    neuron = WindowedNeuron(theta=other.theta, bias=other.theta, rise=other.theta, start=4, stop=8)
    with pytest.raises(ValueError, match="layer b: it must have the timing of the layers before it"):
        Engine([layer(), other.replace(neuron=neuron)], 4)


def test_widths_are_the_narrowest_exact_ones():
    assert core().widths == [(8, 32)]
    assert core(weight=np.array([[128, 1], [0, 0]], np.int16)).widths == [(16, 32)]
    assert core(weight=np.array([[256, -512], [128, 0]], np.int16)).widths == [(8, 32)]  # multiples of 128: 2, -4, 1
    assert core(membrane=Register.of(40)).widths == [(8, 64)]
    assert core(decay_bits=12, keep=4000).widths == [(8, 64)]
    assert core(weight=np.full((2, 2), 1 << 30, np.int32) + 1, membrane=Register.of(24)).widths == [(32, 64)]


def test_a_wrapped_sum_may_be_larger_than_the_sum():
    """-1 wraps to 2^30 - 1, unsigned; the membrane takes that twice, and 32 bits would not hold membrane + sum + bias."""
    most = (1 << 30) - 1
    made = core(
        weight=np.array([[-1], [-1]], np.int8),
        theta=np.array([(1 << 31) - 3]),
        bias=np.array([most - 10]),
        out_shape=(1, 1, 1),
        accumulator=Register(low=0, high=most, bits=30, policy="wrap"),
        membrane=Register.of(31, "signed"),
        scale=np.ones(1),
    )
    raw = made.run(np.array([[0, 1]], np.uint8), trace=True)
    assert raw.membrane[0][0].flatten().tolist() == [most] * 4
    narrow = core(accumulator=Register.of(16, "unsigned", "wrap"))
    assert narrow.widths == core().widths == [(8, 32)]


def test_empty_batch():
    raw = core().run(np.zeros((0, 2), np.uint8))
    assert raw.counters.shape == (0, 1, 7)
