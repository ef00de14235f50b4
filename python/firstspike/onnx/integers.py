"""A program of windows as integer ONNX, by the closed form of docs/emulator.md: bytes times int8 weights, sums of 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..emulator.program.layers import Layer, Synapses
from ..emulator.program.program import Program
from .graph import Graph

Integers = NDArray[np.signedinteger]


def integer_graph(program: Program) -> Graph:
    """The graph of a program of windows; maps are [batch, C, H, W]."""
    if program.timing != "windowed":
        raise ValueError("net must be a program of windows: a step-by-step program has a loop over time, which ONNX lacks")
    height, width, channels = program.input_shape
    encoder = program.encoder
    whole = program.steps == 255 and encoder.mean is None
    image = encoder.image_shape or ((channels,) if (height, width) == (1, 1) else None)
    rows, columns = encoder.padding
    shape = image or (channels, height - 2 * rows, width - 2 * columns)
    graph = Graph("program", ("x", "uint8" if whole else "float32", shape), ("scores", "int32"))
    levels = [_input_levels(graph, program, whole, len(shape))]
    for number, layer in enumerate(program.layers):
        name = f"layers.{number}"
        if layer.neuron.kind == "pool":
            pads = [*layer.padding] * 2
            levels.append(
                graph.node(
                    f"{name}.levels", "MaxPool", levels[-1], kernel_shape=[*layer.kernel], strides=[*layer.stride], pads=pads
                )
            )
            continue
        sums = [
            _sum(graph, f"{name}.{part}", levels[synapses.source + 1], synapses, layer)
            for part, synapses in enumerate(layer.inputs)
        ]
        total = sums[0] if len(sums) == 1 else graph.node(f"{name}.sum", "Add", *sums)
        column = (-1, 1, 1) if layer.kind == "conv" else (-1,)
        if layer.shift:
            total = graph.node(f"{name}.shifted", "Mul", total, graph.constant(f"{name}.factor", np.int32(1 << layer.shift)))
        neuron: Any = layer.neuron
        steps = neuron.stop - neuron.start
        offset = neuron.bias - neuron.reached + neuron.rise * (steps + 1) if neuron.fires else neuron.bias
        total = graph.node(
            f"{name}.membrane", "Add", total, graph.constant(f"{name}.offset", _narrow(offset, name).reshape(column))
        )
        if neuron.fires:
            positive = graph.node(f"{name}.positive", "Max", total, graph.constant("none", np.int32(0)))
            rise = graph.constant(f"{name}.rise", _narrow(neuron.rise, name).reshape(column))
            counted = graph.node(f"{name}.counted", "Div", positive, rise)
            capped = graph.node(f"{name}.capped", "Min", counted, graph.constant(f"steps_{steps}", np.int32(steps)))
            total = graph.node(f"{name}.levels", "Cast", capped, to=2)  # uint8
        levels.append(total)
    graph.finish(levels[-1])
    return graph


def _input_levels(graph: Graph, program: Program, whole: bool, dimensions: int) -> str:
    """The levels of the input's spikes: pixels as they are, or floats rounded as `nn.WindowedEncoder` does."""
    encoder, steps = program.encoder, program.steps
    x, column = "x", (-1, 1, 1) if dimensions == 3 else (-1,)
    rows, columns = encoder.padding
    pads = graph.constant("pads", np.array([0, 0, rows, columns] * 2, np.int64)) if rows or columns else None
    fill = np.array(encoder.fill, np.float32).reshape(-1, 1, 1)
    if whole:
        if pads is not None:
            border = np.rint(fill * 255)
            if border.size > 1:
                raise ValueError("net must have one fill for all channels in integer ONNX")
            x = graph.node("x.padded", "Pad", x, pads, graph.constant("fill", np.uint8(border.item())))
        return x
    if encoder.mean is not None and encoder.std is not None:
        mean, std = (np.array(values, np.float32).reshape(column) for values in (encoder.mean, encoder.std))
        x = graph.node("x.centred", "Sub", x, graph.constant("mean", mean))
        x = graph.node("x.normalized", "Div", x, graph.constant("std", std))
    if pads is not None:
        x = graph.node("x.less", "Sub", x, graph.constant("fill", fill))
        x = graph.node("x.filled", "Add", graph.node("x.padded", "Pad", x, pads), "fill")
    clipped = graph.node("x.clipped", "Clip", x, graph.constant("zero", np.float32(0)), graph.constant("one", np.float32(1)))
    scaled = graph.node("x.scaled", "Mul", clipped, graph.constant("steps", np.float32(steps)))
    half = graph.node("x.half", "Add", scaled, graph.constant("half", np.float32(0.5)))
    return graph.node("x.levels", "Cast", graph.node("x.floor", "Floor", half), to=2)  # uint8


def _sum(graph: Graph, name: str, levels: str, synapses: Synapses, layer: Layer) -> str:
    """The sum of weights times levels of one input of a layer, int32; a pool's average becomes a larger kernel."""
    height, width, channels = synapses.in_shape
    every = 2 if synapses.weight.size and not (synapses.weight & 1).any() else 1  # weights of 8 bits in steps of 2
    weight = synapses.weight // every
    pool, (stride, padding, groups) = synapses.pool, (synapses.stride, synapses.padding, synapses.groups)
    zeros = graph.constant("zero_of_levels", np.uint8(0)), graph.constant("zero_of_weights", np.uint8(128))
    rows, columns = height // pool * pool, width // pool * pool
    if (rows, columns) != (height, width):  # what is left over at the lower and right edge
        begin, end, axes = (np.array(values, np.int64) for values in ([0, 0], [rows, columns], [2, 3]))
        bounds = [graph.constant(f"{name}.{n}", v) for n, v in (("begin", begin), ("end", end), ("axes", axes))]
        levels = graph.node(f"{name}.cropped", "Slice", levels, *bounds)
    if synapses.kind == "linear":
        if (height, width) == (1, 1):
            flat = graph.node(f"{name}.flat", "Flatten", levels, axis=1)
            operand = graph.constant(f"{name}.weight", _bytes(weight, layer.name))
            return _times(graph, name, graph.node(f"{name}.product", "MatMulInteger", flat, operand, *zeros), every)
        kernel, stride, padding = synapses.dense().transpose(3, 2, 0, 1) // every, (1, 1), (0, 0)
    elif synapses.kind == "diagonal" and synapses.outputs == layer.out_shape[2]:
        kernel, groups = weight.reshape(-1, 1, 1, 1), channels
    elif synapses.kind == "diagonal":  # the other channels get no shortcut
        kernel = np.zeros((layer.out_shape[2], channels, 1, 1), weight.dtype)
        kernel[np.arange(channels), np.arange(channels), 0, 0] = weight
    else:
        kernel = weight.transpose(3, 0, 1, 2)
    operand = graph.constant(f"{name}.weight", _bytes(kernel.repeat(pool, 2).repeat(pool, 3), layer.name))
    strides, pads = [pool * stride[0], pool * stride[1]], [pool * padding[0], pool * padding[1]] * 2
    product = graph.node(f"{name}.product", "ConvInteger", levels, operand, *zeros, strides=strides, pads=pads, group=groups)
    flat = graph.node(f"{name}.flat", "Flatten", product, axis=1) if synapses.kind == "linear" else product
    return _times(graph, name, flat, every)


def _times(graph: Graph, name: str, sums: str, factor: int) -> str:
    if factor == 1:
        return sums
    return graph.node(f"{name}.whole", "Mul", sums, graph.constant(f"{name}.every", np.int32(factor)))


def _bytes(weight: Integers, name: str) -> NDArray[np.uint8]:
    """Weights around 128: ONNX Runtime multiplies bytes without sign exactly on every processor."""
    if weight.size and (weight.min() < -128 or weight.max() > 127):
        raise ValueError(f"layer {name}: its weights must fit 8 bits for integer ONNX; quantise with bits=8 or fewer")
    return (weight.astype(np.int16) + 128).astype(np.uint8)


def _narrow(values: NDArray[np.int64], name: str) -> NDArray[np.int32]:
    if np.abs(values).max(initial=0) >= 1 << 31:
        raise ValueError(f"layer {name}: its thresholds must fit 32 bits for integer ONNX; quantise with fewer bits")
    return values.astype(np.int32)
