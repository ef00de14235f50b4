"""Random emulator networks for hypothesis: every geometry, register, policy, update and schedule."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from firstspike.emulator.program.host import Readout
from firstspike.emulator.program.layers import Layer, PoolNeuron, Register, StepNeuron, Synapses, WindowedNeuron
from firstspike.emulator.program.profile import load
from firstspike.emulator.program.program import Program


@st.composite
def registers(draw, policies=("saturate", "wrap", "error"), least=3, most=14):
    bits = draw(st.integers(least, most) | st.sampled_from((29, 30, 31, 32, 40)))
    policy = draw(st.sampled_from(policies))
    kinds = ("signed", "unsigned") if policy == "wrap" else ("signed", "symmetric", "unsigned")
    return Register.of(bits, draw(st.sampled_from(kinds)), policy)


def integers(rng, low, high, shape, dtype=np.int64):
    return rng.integers(low, high, size=shape, endpoint=True).astype(dtype)


@st.composite
def layers(draw, rng, index, in_shape, total_steps, fires, options):
    conv = min(in_shape[:2]) > 1 and fires and draw(st.booleans())
    in_block = conv and draw(st.booleans())  # of the input's size and at least its channels, so that shortcuts fit
    pool = draw(st.integers(1, min(3, *in_shape[:2]))) if min(in_shape[:2]) > 1 and not in_block else 1
    pooled = in_shape[0] // pool, in_shape[1] // pool
    stride, padding, kernel = (1, 1), (0, 0), (1, 1)
    if in_block:
        kernel = draw(st.sampled_from(((1, 1), (3, 3), (1, 3))))
        padding, out = (kernel[0] // 2, kernel[1] // 2), pooled
    elif conv:
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        kernel = tuple(draw(st.integers(1, min(4, size + 2 * pad))) for size, pad in zip(pooled, padding, strict=True))
        out = tuple((s + 2 * p - k) // d + 1 for s, p, k, d in zip(pooled, padding, kernel, stride, strict=True))
    else:
        out = (1, 1)
    channels = draw(st.integers(in_shape[2] if in_block else 1, max(20, in_shape[2])))
    most = draw(st.sampled_from((1, 7, 127, 3000, 200000)))
    shape = (in_shape[2], *kernel, channels) if conv else (pooled[0] * pooled[1] * in_shape[2], channels)
    scale = max(1, int(most * draw(st.sampled_from((0.2, 1.0, 3.0)))))
    shift = draw(st.sampled_from((0, 0, 3, 6)))
    theta = integers(rng, 1 if options.get("positive_theta") else -2, scale * 2**shift, channels)
    bias = (
        integers(rng, -scale, scale, channels)
        if draw(st.booleans()) and not options.get("no_bias")
        else np.zeros(channels, np.int64)
    )
    decay_bits = draw(st.sampled_from((0, 0, 4, 12))) if not options.get("no_leak") else 0
    update, leak, current = draw(st.sampled_from(options.get("updates", ("clocked", "event")))), "scale", None
    if update == "clocked" and not options.get("no_leak") and draw(st.booleans()):
        leak = draw(st.sampled_from(("scale", "shift")))
        current = draw(st.none() | st.integers(0, 15 if leak == "shift" else 2**decay_bits))
    synapses = Synapses(
        source=index - 1,
        kind="conv" if conv else "linear",
        weight=integers(rng, -most, most, shape, np.int32),
        in_shape=in_shape,
        pool=pool,
        stride=stride,
        padding=padding,
        delay=draw(st.integers(0, 2)),
    )
    neuron = StepNeuron(
        theta=theta,
        bias=bias,
        fires=fires,
        start=0 if draw(st.booleans()) else draw(st.integers(0, 2)) % total_steps,
        stop=total_steps,
        decay_bits=decay_bits,
        keep=draw(st.integers(0, 15 if leak == "shift" else 2**decay_bits)),
        leak=leak,
        current=current,
        update=update,
        fire=draw(st.sampled_from(("ge", "gt"))),
    )
    return Layer(
        name=f"layer{index}",
        inputs=[synapses],
        out_shape=(*out, channels),
        neuron=neuron,
        accumulator=draw(registers(**options.get("registers", {}))),
        membrane=draw(registers(**options.get("registers", {}))),
        shift=shift,
        scale=np.ones(channels),
    )


@st.composite
def shortcuts(draw, rng, made):
    """No shortcut into the last of the layers, or one from a population that fits it."""
    last, fits = made[-1], []
    for source in range(-1, len(made) - 1):
        shape = made[0].in_shape if source < 0 else made[source].out_shape
        strides = [
            [s for s in range(1, have + 1) if -(-have // s) == want]
            for have, want in zip(shape[:2], last.out_shape[:2], strict=True)
        ]
        if shape[2] <= last.out_shape[2] and all(strides):
            fits.append((source, shape, strides))
    if not fits:
        return []
    source, shape, strides = draw(st.sampled_from(fits))
    most = draw(st.sampled_from((1, 127, 70000)))
    shortcut = Synapses(
        source=source,
        kind="diagonal",
        in_shape=shape,
        weight=integers(rng, -most, most, shape[2], np.int32),
        stride=tuple(draw(st.sampled_from(choice)) for choice in strides),
        delay=draw(st.integers(0, 3)),
    )
    return [shortcut]


@st.composite
def networks(draw, **options):
    """(layers, steps, total_steps, times uint8 [batch, sources])."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = draw(st.integers(1, 9))
    total_steps = steps + draw(st.integers(0, 4))
    shape = draw(st.sampled_from(((1, 1, 1), (1, 1, 13), (3, 4, 2), (5, 5, 1), (6, 3, 3))))
    depth = draw(st.integers(1, 3))
    readout = draw(st.booleans()) and not options.get("all_fire")
    made = []
    for index in range(depth):
        made.append(draw(layers(rng, index, shape, total_steps, not readout or index + 1 < depth, options)))
        if not options.get("no_shortcut") and draw(st.booleans()):
            made[-1] = made[-1].replace(inputs=[*made[-1].inputs, *draw(shortcuts(rng, made))])
        shape = made[-1].out_shape
    silent = draw(st.sampled_from((0.0, 0.3, 0.9)))
    times = rng.integers(
        0, steps, size=(draw(st.integers(1, 4)), made[0].in_shape[0] * made[0].in_shape[1] * made[0].in_shape[2])
    )
    times = np.where(rng.random(times.shape) < silent, 255, times).astype(np.uint8)
    return made, steps, total_steps, times


@st.composite
def windowed_programs(draw, exact=False):
    """(program, times uint8 [batch, sources]) of a net of windows; exact: no register overflows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = draw(windows)
    shape = draw(st.sampled_from(((1, 1, 1), (1, 1, 13), (3, 4, 2), (5, 5, 4), (6, 3, 3))))
    profile = load("generic8")
    made: list[Layer] = []
    populations = [(shape, 0, steps)]  # map, first step and steps of the window, of the input and of each layer
    for index in range(draw(st.integers(1, 4))):
        made.append(draw(_windowed_layer(rng, index, populations, exact)))
        populations.append((made[-1].out_shape, made[-1].start, made[-1].steps))
    last = draw(_windowed_layer(rng, len(made), populations, exact, readout=True))
    program = Program(layers=(*made, last), steps=steps, profile=profile, readout=Readout(kind="membrane"))
    sources = int(np.prod(shape))
    times = rng.integers(0, steps, size=(draw(st.integers(1, 3)), sources))
    times = np.where(rng.random(times.shape) < draw(st.sampled_from((0.0, 0.3, 0.9))), 255, times).astype(np.uint8)
    return program, times


windows = st.integers(2, 12) | st.sampled_from((1, 254, 255))


@st.composite
def _windowed_layer(draw, rng, index, populations, exact, readout=False):
    shape, begin, window = populations[-1]
    height, width, channels = shape
    pools = not readout and min(shape[:2]) > 1 and draw(st.integers(0, 4)) == 0
    conv = pools or (not readout and min(shape[:2]) > 1 and draw(st.booleans()))
    pool = draw(st.integers(1, min(3, height, width))) if not pools else 1
    pooled = height // pool, width // pool
    stride, padding, kernel, groups = (1, 1), (0, 0), (1, 1), 1
    if conv:
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        padding = (0, 0) if pools else draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        kernel = tuple(draw(st.integers(1, min(3, size + 2 * pad))) for size, pad in zip(pooled, padding, strict=True))
        groups = channels if pools else draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    out = tuple((s + 2 * p - k) // d + 1 for s, p, k, d in zip(pooled, padding, kernel, stride, strict=True))
    outputs = channels if pools else groups * draw(st.integers(1, 6))
    out_shape = (*out, outputs) if conv else (1, 1, outputs)
    shift, most = draw(st.sampled_from((0, 0, 3))), draw(st.sampled_from((1, 7, 127, 3000)))
    inputs = (channels // groups, *kernel) if conv else (pooled[0] * pooled[1] * channels,)
    weight = np.ones((*inputs, outputs), np.int8) if pools else integers(rng, -most, most, (*inputs, outputs), np.int32)
    fits = [n for n, (other, *_) in enumerate(populations) if other[:2] == out_shape[:2]] if not pools else []
    shortcut = []
    if fits and draw(st.booleans()):
        source = draw(st.sampled_from(fits))
        beside, of = populations[source][0], populations[source][2]
        diagonal = beside[2] == outputs and draw(st.booleans())
        taps = integers(rng, -most, most, outputs if diagonal else (beside[2], 1, 1, outputs), np.int32)
        kind = "diagonal" if diagonal else "conv"
        shortcut.append(Synapses(source=source - 1, kind=kind, in_shape=beside, weight=taps, window=of))
    steps = 0 if readout else window if pools else draw(windows)
    scale = max(1, most * 2**shift * draw(st.sampled_from((1, 10))))
    delay, fire = draw(st.integers(0, 2)), draw(st.sampled_from(("ge", "gt")))
    start = delay + begin + (0 if pools else window)
    wide = Register.of(draw(st.sampled_from((40, 31))))
    rise = integers(rng, 1, scale, outputs)
    bias = rise * 0 if pools else integers(rng, -scale, scale, outputs)
    synapses = Synapses(
        source=index - 1,
        kind="conv" if conv else "linear",
        weight=weight,
        in_shape=shape,
        pool=pool,
        stride=stride,
        padding=padding,
        groups=groups,
        delay=delay,
        window=window,
    )
    if pools:
        neuron = PoolNeuron(theta=rise * 0 + 1, start=start, stop=start + steps)
    else:
        theta = rise * (steps + 1) + integers(rng, -2, 2, outputs)
        neuron = WindowedNeuron(theta=theta, bias=bias, rise=rise, fire=fire, start=start, stop=start + steps)
    layer = Layer(
        name=f"layer{index}",
        inputs=[synapses, *shortcut],
        out_shape=out_shape,
        neuron=neuron,
        shift=0 if pools else shift,
        accumulator=wide,
        membrane=wide,
        scale=np.ones(outputs),
    )
    if exact or draw(st.booleans()):
        return layer
    bits = int(np.abs(bias).max()).bit_length(), int(rise.max()).bit_length()
    policies = ("saturate", "wrap", "error")
    membrane = draw(registers(policies, least=max(bits) + 2, most=max(bits) + 8).filter(lambda r: r.low <= bias.min()))
    return layer.replace(membrane=membrane, accumulator=draw(registers(policies, least=bits[1] + 1, most=bits[1] + 3)))
