"""Counts of a run beside those of the C++ core: updates of a first layer on pixels, and inputs that are not 0."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..._base.checks import SILENT
from ..._base.geometry import out_size
from ...spikes import SpikeTimes
from ..program import pixels
from ..program.layers import Synapses
from ..program.program import COUNTERS, Program, Raw

_DELIVERED = COUNTERS.index("delivered")


def first_updates(program: Program, times: NDArray[np.uint8], steps_run: NDArray[np.int32]) -> NDArray[np.int64]:
    """Updates, int64 [B], of the neurons that pixels drive: each step until a neuron fires or the run ends."""
    if program.pixels is None:
        return np.zeros(len(times), np.int64)
    last = np.minimum(steps_run, program.steps)[:, None] - 1
    updates: NDArray[np.int64] = (np.minimum(times, last) + 1).sum(1, dtype=np.int64)
    return updates


def needs_times(program: Program) -> bool:
    """Whether the inputs of a ReLU net that are not 0 need more than the counters: times of a layer before an average pool."""
    return any(part.pool > 1 or len(layer.inputs) > 1 for layer in program.layers for part in layer.inputs)


def nonzero_macs(program: Program, inputs: SpikeTimes | Tensor, times: NDArray[np.uint8], raw: Raw) -> NDArray[np.int64]:
    """Multiply-adds, int64 [B, 1 + L], of the same net with ReLU whose input is not 0; the first column is a direct layer's."""
    delivered = raw.counters[:, :, _DELIVERED]
    columns = [_first(program, inputs, len(times))]
    for n, layer in enumerate(program.layers):
        if layer.neuron.kind == "pool":
            columns.append(np.zeros(len(times), np.int64))
        elif not needs_times(program):
            columns.append(delivered[:, n])
        else:
            sources = [times, *raw.times]
            sent = [(part, np.asarray(sources[part.source + 1]) != SILENT) for part in layer.inputs if part.kind != "diagonal"]
            columns.append(np.sum([_reached(*each) for each in sent], 0))
    return np.stack(columns, 1)


def _first(program: Program, inputs: SpikeTimes | Tensor, count: int) -> NDArray[np.int64]:
    """Of a directly coded layer; every input counts where only its spikes are known."""
    layer, weight = program.pixels, program.encoder.weight
    if layer is None and weight is None:
        return np.zeros(count, np.int64)
    if isinstance(inputs, SpikeTimes):
        return np.full(count, first_macs(program), np.int64)
    if layer is not None:
        return _reached(layer.inputs[0], pixels.bytes_of(layer, inputs) != 0)
    assert weight is not None
    nonzero: NDArray[np.bool_] = (inputs != 0).cpu().numpy()
    if weight.ndim == 2:
        nonzero, reach = nonzero.reshape(count, -1, 1, 1), np.ones((1, 1), np.int64)
    else:
        sizes = zip(nonzero.shape[2:], weight.shape[2:], program.encoder.stride, program.encoder.padding, strict=True)
        reach = np.outer(*(_reach(*size) for size in sizes))
    weights: NDArray[np.int64] = (nonzero.sum(1, dtype=np.int64) * reach).sum((1, 2)) * len(weight)
    return weights


def first_macs(program: Program) -> int:
    """Multiply-adds per image of a directly coded first layer; on the host taps in the padding count."""
    return program.encoder.macs(prod(program.input_shape)) if program.pixels is None else program.pixels.synapses


def _reached(part: Synapses, fired: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Weights, int64 [B], that the windows of [B, sources] with a spike reach."""
    (rows, columns, channels), k = part.pooled_shape, part.pool
    used = fired.reshape(-1, *part.in_shape)[:, : rows * k, : columns * k]
    units: NDArray[np.bool_] = np.logical_or.reduce(used.reshape(-1, rows, k, columns, k, channels), axis=(2, 4))
    sizes = zip((rows, columns), part.kernel, part.stride, part.padding, strict=True)
    reach = np.ones((1, 1), np.int64) if part.kind == "linear" else np.outer(*(_reach(*size) for size in sizes))
    weights: NDArray[np.int64] = (units.sum(3, dtype=np.int64) * reach).sum((1, 2)) * (part.outputs // part.groups)
    return weights


def _reach(size: int, kernel: int, stride: int, pad: int) -> NDArray[np.int64]:
    """Along one axis, how many outputs each input reaches."""
    begin = np.arange(out_size(size, kernel, stride, pad)) * stride - pad
    at = np.arange(size)[:, None]
    reach: NDArray[np.int64] = ((begin <= at) & (at < begin + kernel)).sum(1, dtype=np.int64)
    return reach
