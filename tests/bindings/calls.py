"""A good call of every bound function of the CPU kernels, with random sizes: its arguments in the order of the binding."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from firstspike._base import kernels
from firstspike._base.geometry import Geometry
from firstspike._base.kernels import cpu

from .draws import Draw

Arguments = dict[str, Any]
CPU: dict[str, Callable[[Draw], Arguments]] = {}


def call(function: Callable[[Draw], tuple[Any, ...]]) -> Callable[[Draw], tuple[Any, ...]]:
    """Register the arguments of the kernel of the same name."""
    signature = getattr(cpu, function.__name__).__doc__.partition(" -> ")[0]
    names = re.findall(r"(\w+): ", signature)
    CPU[function.__name__] = lambda draw: dict(zip(names, function(draw), strict=True))
    return function


def bound() -> set[str]:
    """The functions of the CPU module that Python can call."""
    return {name for name in dir(cpu) if callable(getattr(cpu, name)) and not name.startswith("_")}


def geometry(draw: Draw) -> Geometry:
    """A linear layer or a convolution, pooled or not."""
    batch, height, width, channels = draw.randint(0, 3), draw.size(6), draw.size(6), draw.choice((1, 3, 16, 40, 70))
    pool = draw.randint(1, min(height, width, 3))
    outputs, steps = draw.choice((1, 3, 16, 33, 70)), draw.steps()
    cells_y, cells_x = height // pool, width // pool
    if draw.some(0.4):
        return Geometry(batch, height, width, channels, pool, cells_y, cells_x, 1, 1, 0, 0, outputs, steps)
    pad_y, pad_x = draw.randint(0, 2), draw.randint(0, 2)
    kernel_y, kernel_x = draw.randint(1, min(5, cells_y + 2 * pad_y)), draw.randint(1, min(5, cells_x + 2 * pad_x))
    strides = draw.randint(1, 2), draw.randint(1, 2)
    return Geometry(batch, height, width, channels, pool, kernel_y, kernel_x, *strides, pad_y, pad_x, outputs, steps)


def weight(draw: Draw, g: Geometry) -> Tensor:
    """In one of the layouts that layers have."""
    x = draw.floats(g.outputs, g.channels, g.kernel_height, g.kernel_width)
    return draw.choice((x, x.flatten(1), x.contiguous(memory_format=torch.channels_last)))


def of_layer(draw: Draw) -> tuple[Geometry, tuple[Any, ...]]:
    """A geometry and the first four arguments of all passes of a layer."""
    g = geometry(draw)
    times = draw.times(g.batch, g.height, g.width, g.channels, steps=g.steps)
    return g, (tuple(g), draw.neuron(), times, weight(draw, g))


def shortcut(draw: Draw, g: Geometry) -> tuple[Tensor, Tensor]:
    """Spike times of a map of the output's size, or of one of which every other row or column counts, and their scale."""
    height, width = (n * draw.randint(1, 2) for n in g.out_shape[1:3])
    channels = draw.randint(1, g.outputs)
    return draw.times(g.batch, height, width, channels, steps=g.steps), draw.floats(channels)


def bias(draw: Draw, outputs: int) -> Tensor | None:
    """Or none."""
    return draw.floats(outputs) if draw.some(0.5) else None


def wanted(draw: Draw, x: Tensor) -> Tensor | None:
    """An array for a result, mostly."""
    return torch.zeros_like(x) if draw.some(0.7) else None


def gradient_of(draw: Draw, steps: int, *sizes: int) -> tuple[tuple[Tensor, Tensor] | None, tuple[int, ...]]:
    """(support, shape) of a gradient of neurons [*sites, channels]: at a support, or at every step."""
    if not draw.some(0.5):
        return None, (steps, *sizes)
    support = draw.support(math.prod(sizes[:-1]), sizes[-1], steps, cpu.tile)
    return support, tuple(support[1].shape[1:])


@call
def fire_layer(draw: Draw) -> tuple[Any, ...]:
    g, layer = of_layer(draw)
    out = torch.zeros(g.out_shape, dtype=torch.uint8)
    side = shortcut(draw, g) if draw.some(0.3) else None
    return *layer, bias(draw, g.outputs), draw.some(0.5), draw.threads(), out, side


@call
def integrate_layer(draw: Draw) -> tuple[Any, ...]:
    g, layer = of_layer(draw)
    return *layer, bias(draw, g.outputs), draw.threads(), torch.zeros(g.steps, *g.out_shape)


@call
def layer_gradients(draw: Draw) -> tuple[Any, ...]:
    g, layer = of_layer(draw)
    offset, place = draw.support(g.out_sites, g.outputs, g.steps, cpu.tile)
    gradient, slope = draw.floats(place.shape[1]), draw.floats(place.shape[1]) if draw.some(0.7) else None
    source, shape = gradient_of(draw, g.steps, g.batch, g.height, g.width, g.channels)
    outs = [wanted(draw, x) for x in (torch.zeros(shape), layer[3], torch.zeros(g.outputs))]
    return *layer, (offset, place), slope, gradient, source, draw.threads(), *outs


@call
def shortcut_gradients(draw: Draw) -> tuple[Any, ...]:
    sizes, neuron, _, _, support, slope, gradient, _, threads, *_ = layer_gradients(draw)
    g = Geometry(*sizes)
    times, scale = shortcut(draw, g)
    source, shape = gradient_of(draw, g.steps, *times.shape)
    outs = wanted(draw, torch.zeros(shape)), wanted(draw, scale)
    return sizes, neuron, (times, scale), support, slope, gradient, source, threads, *outs


@call
def direct_convolution_gradient(draw: Draw) -> tuple[Any, ...]:
    g = geometry(draw)
    g = g._replace(pool=1, kernel_height=min(g.kernel_height, g.height), kernel_width=min(g.kernel_width, g.width))
    data, gradient = draw.floats(g.batch, g.height, g.width, g.channels), draw.floats(*g.out_shape)
    out = torch.zeros(g.outputs, g.channels, g.kernel_height, g.kernel_width)
    return tuple(g), data, gradient, draw.threads(), out, wanted(draw, torch.zeros(g.outputs))


@call
def plan_layer(draw: Draw) -> tuple[Any, ...]:
    return tuple(geometry(draw)), draw.threads()


def prepacked(draw: Draw) -> tuple[Arguments, Arguments]:
    """The arguments of the constructor and of `run`: one layer, or a linear one behind it."""
    g = geometry(draw)
    layers = [(tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs))]
    _, height, width, channels = g.out_shape
    if layers[0][2] and draw.some(0.5):
        g = Geometry(g.batch, height, width, channels, 1, height, width, 1, 1, 0, 0, draw.size(40), g.steps)
        layers.append((tuple(g), draw.neuron(), draw.some(0.7), weight(draw, g), bias(draw, g.outputs)))
    first, last = Geometry(*layers[0][0]), g._replace(batch=draw.randint(0, 3))
    times = draw.times(last.batch, first.height, first.width, first.channels, steps=first.steps)
    fires = layers[-1][2]
    out = torch.zeros(last.out_shape, dtype=torch.uint8) if fires else torch.zeros(last.steps, *last.out_shape)
    run = {"batch": last.batch, "times": times, "threads": draw.threads(), "out": out}
    return {"layers": layers, "threads": draw.threads()}, run


def integers(draw: Draw) -> tuple[Arguments, Arguments]:
    """The arguments of `IntegerNet`'s constructor and of `run`: a layer of any kind, and a readout of both maps."""
    height, width, channels = draw.size(6), draw.size(6), draw.choice((1, 3, 16, 40))
    pad_y, pad_x, stride = draw.randint(0, 2), draw.randint(0, 2), draw.randint(1, 2)
    kind = draw.choice(("dense", "depthwise", "largest"))
    pool = 1 if kind == "largest" else draw.randint(1, min(height, width, 3))
    high, wide = height // pool + 2 * pad_y, width // pool + 2 * pad_x
    kernel_y, kernel_x = draw.randint(1, min(3, high)), draw.randint(1, min(3, wide))
    outputs = draw.choice((1, 7, 33)) if kind == "dense" else channels
    out = (high - kernel_y) // stride + 1, (wide - kernel_x) // stride + 1, outputs
    rows = kernel_y * kernel_x * (channels if kind == "dense" else 1)
    most = draw.choice((100, 1000))

    generator = torch.Generator().manual_seed(draw.getrandbits(32))

    def whole(*shape: int, kind: torch.dtype = torch.int16, low: int = -most) -> Tensor:
        return torch.randint(low, most, shape, dtype=kind, generator=generator)

    inner = {"dense": whole(outputs, rows), "depthwise": whole(rows, outputs), "largest": whole(0)}[kind]
    neurons = 0 if kind == "largest" else outputs
    numbers = whole(neurons, kind=torch.int32), whole(neurons, kind=torch.int32, low=1)
    taps = [(-1, pool, kernel_y, kernel_x, stride, stride, pad_y, pad_x)]
    layer = (kind, draw.choice((1, 16, 255)), draw.randint(0, 3), out, taps, inner, *numbers)
    sides = [(0, 1, out[0], out[1], 1, 1, 0, 0), (-1, 1, height, width, 1, 1, 0, 0)][: draw.randint(1, 2)]
    read = math.prod(out) + (height * width * channels if len(sides) == 2 else 0)
    last = ("dense", 0, 0, (1, 1, 10), sides, whole(10, read), whole(10, kind=torch.int32), whole(0, kind=torch.int32))
    batch = draw.randint(0, 40)
    sums = torch.zeros(batch, 10, dtype=torch.int32)
    levels = draw.bytes(batch, height, width, channels)
    run = {"batch": batch, "levels": levels, "threads": draw.threads(), "sums_out": sums}
    return {"input": (height, width, channels), "layers": [layer, last]}, run


def sizes_of(draw: Draw) -> tuple[int, int, int]:
    """Sites, channels and steps."""
    return draw.randint(0, 7), draw.choice((1, 3, 16, 33, 70)), draw.steps()


def bytes_of(*shape: int) -> Tensor:
    """An array for times."""
    return torch.zeros(shape, dtype=torch.uint8)


@call
def ramp(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    current = draw.floats(sites, channels)
    return sites, channels, steps, draw.neuron(), current, draw.some(0.5), draw.threads(), bytes_of(sites, channels)


@call
def ramp_gradient(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    support = draw.support(sites, channels, steps, cpu.tile)
    values = draw.floats(support[1].shape[1]), draw.floats(support[1].shape[1])
    return sites, channels, steps, draw.neuron(), support, *values, draw.threads(), torch.zeros(sites, channels)


@call
def fire(draw: Draw) -> tuple[Any, ...]:
    shape = draw.randint(0, 20), draw.randint(0, 70)
    return *shape, draw.neuron(), draw.floats(*shape), draw.threads(), torch.zeros(shape)


@call
def fire_gradient(draw: Draw) -> tuple[Any, ...]:
    steps, neurons, neuron, current, threads, out = fire(draw)
    return steps, neurons, neuron, current, draw.floats(steps, neurons), threads, out


@call
def linear_latency(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    return steps, draw.floats(sites, channels), draw.threads(), bytes_of(sites, channels)


@call
def times_from_dense(draw: Draw) -> tuple[Any, ...]:
    steps, neurons = draw.steps(), draw.randint(0, 70)
    return steps, neurons, draw.floats(steps, neurons), draw.threads(), bytes_of(neurons)


@call
def dense_from_times(draw: Draw) -> tuple[Any, ...]:
    steps, neurons = draw.steps(), draw.randint(0, 70)
    return steps, neurons, draw.times(neurons, steps=steps), draw.threads(), torch.zeros(steps, neurons)


@call
def support_from_dense(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    gradient = draw.floats(steps, sites, channels) * (draw.floats(steps, sites, channels) > 0)
    return steps, sites, channels, gradient, draw.threads()


@call
def gather_at_support(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    support, gradient = draw.support(sites, channels, steps, cpu.tile), draw.floats(steps, sites, channels)
    return steps, sites, channels, gradient, support, draw.threads(), torch.zeros(support[1].shape[1])


def dropped(draw: Draw) -> tuple[Tensor, int, int]:
    """The seed of dropout, how many of 65536 spikes are kept, and the threads."""
    return torch.tensor([draw.getrandbits(62)]), draw.randint(0, 65536), draw.threads()


@call
def drop_spikes(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    return sites, channels, draw.times(sites, channels, steps=steps), *dropped(draw), bytes_of(sites, channels)


@call
def drop_gradient(draw: Draw) -> tuple[Any, ...]:
    sites, channels, steps = sizes_of(draw)
    support, shape = gradient_of(draw, steps, sites, channels)
    return steps, sites, channels, draw.floats(*shape), support, *dropped(draw), torch.zeros(shape)


def maps(draw: Draw) -> tuple[tuple[int, int, int, int], int]:
    """Sizes of maps, and of the windows that they are cut into."""
    sizes = (draw.randint(0, 2), draw.randint(0, 7), draw.randint(1, 7), draw.choice((1, 3, 33, 70)))
    return sizes, draw.randint(1, 4)


@call
def distinct_spikes(draw: Draw) -> tuple[Any, ...]:
    sizes, pool = maps(draw)
    return sizes, pool, draw.times(*sizes, steps=draw.steps()), draw.threads(), bytes_of(*sizes)


@call
def distinct_gradient(draw: Draw) -> tuple[Any, ...]:
    (sizes, pool), steps = maps(draw), draw.steps()
    support, shape = gradient_of(draw, steps, *sizes)
    arrays = draw.floats(*shape), draw.times(*sizes, steps=steps), support
    return steps, sizes, pool, *arrays, draw.threads(), torch.zeros(shape)


@call
def earliest_times(draw: Draw) -> tuple[Any, ...]:
    (batch, height, width, channels), pool, times, threads, _ = distinct_spikes(draw)
    pooled = bytes_of(batch, height // pool, width // pool, channels)
    return (batch, height, width, channels), pool, times, threads, pooled, pooled.clone()


@call
def earliest_support(draw: Draw) -> tuple[Any, ...]:
    sizes, pool = maps(draw)
    batch, height, width, channels = sizes
    winner = draw.times(batch, height // pool, width // pool, channels, steps=pool * pool)
    return sizes, pool, winner, draw.support(math.prod(sizes[:3]), channels, draw.steps(), cpu.tile), draw.threads()


@call
def normalize_weight(draw: Draw) -> tuple[Any, ...]:
    outputs, inputs, per_output = draw.size(), draw.size(70), draw.some(0.5)
    moments = torch.zeros(outputs if per_output else 1, 2, dtype=torch.float64)
    arrays = draw.floats(outputs, inputs), bias(draw, outputs)
    deviation = draw.choice((0.5, 1.0, 3.0))
    return outputs, inputs, *arrays, deviation, per_output, draw.threads(), torch.zeros(outputs, inputs), moments


@call
def normalize_weight_gradient(draw: Draw) -> tuple[Any, ...]:
    *given, threads, normal, moments = normalize_weight(draw)
    gamma = None if given[3] is None else torch.zeros_like(given[3])
    return *given, moments + 0.5, draw.floats(*normal.shape), threads, normal, gamma


@call
def empty(draw: Draw) -> tuple[Any, ...]:
    return (draw.randint(0, 10_000),)


@call
def share_openmp_pool(draw: Draw) -> tuple[Any, ...]:
    return (kernels._POOL,)


def window_neurons(draw: Draw) -> tuple[tuple[int, int, int], tuple[Any, ...]]:
    """(sites, channels, steps) of a layer of windows, and the parameters of its neurons."""
    sites, channels = draw.randint(1, 9), draw.choice((1, 3, 16, 33, 70, 150))
    moments, gamma, beta = (draw.floats(n * channels) if draw.some(0.7) else None for n in (2, 1, 1))
    clip = draw.floats(draw.choice((1, channels))).abs().nan_to_num(1, 1) + 0.1
    return (sites, channels, draw.choice((1, 4, 255))), (moments, gamma, beta, clip, draw.choice((0.0, 1e-5)))


@call
def channel_moments(draw: Draw) -> tuple[Any, ...]:
    (sites, channels, _), _ = window_neurons(draw)
    return sites, channels, draw.floats(sites, channels), draw.threads(), torch.zeros(2, channels)


@call
def windowed_times(draw: Draw) -> tuple[Any, ...]:
    sizes, parameters = window_neurons(draw)
    out = torch.zeros(sizes[:2], dtype=torch.uint8)
    return sizes, parameters, draw.floats(*out.shape), draw.threads(), out, out.clone() if draw.some(0.5) else None


@call
def windowed_gradient(draw: Draw) -> tuple[Any, ...]:
    sizes, parameters = window_neurons(draw)
    shapes = sizes[:2], sizes[1:2], sizes[1:2], parameters[3].shape
    out = (torch.zeros(shape) if draw.some(0.7) else None for shape in shapes)
    gradient, codes = draw.floats(*sizes[:2]), draw.bytes(*sizes[:2])
    return sizes, parameters, draw.some(0.5), gradient, codes, draw.threads(), *out


def levels_of(draw: Draw, sizes: tuple[int, ...], steps: int) -> tuple[Any, bool]:
    """Times, or codes, of which any bytes will do."""
    coded = steps < 255 and draw.some(0.5)
    return draw.bytes(*sizes) if coded else draw.times(*sizes, steps=steps), coded


@call
def windowed_values(draw: Draw) -> tuple[Any, ...]:
    (sizes, pool), steps = maps(draw), draw.choice((1, 4, 255))
    batch, height, width, channels = sizes
    out = torch.zeros(batch, height // pool, width // pool, channels)
    return sizes, pool, steps, *levels_of(draw, sizes, steps), draw.threads(), out


@call
def windowed_values_gradient(draw: Draw) -> tuple[Any, ...]:
    sizes, pool = maps(draw)
    batch, height, width, channels = sizes
    return sizes, pool, draw.floats(batch, height // pool, width // pool, channels), draw.threads(), torch.zeros(sizes)


@call
def windowed_earliest(draw: Draw) -> tuple[Any, ...]:
    return earliest_times(draw)[:-1]


@call
def windowed_earliest_gradient(draw: Draw) -> tuple[Any, ...]:
    sizes, pool, gradient, threads, out = windowed_values_gradient(draw)
    steps = draw.choice((1, 4, 255))
    given, coded = levels_of(draw, sizes, steps)
    return sizes, pool, steps, gradient, given, draw.bytes(*gradient.shape), coded, threads, out
