"""Fast inference of nets of windows in integers: the closed form of docs/emulator.md, equal to the core's steps."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._base import checks
from .._base.checks import SILENT
from ..ops.integers import IntegerInput, IntegerKernel, IntegerLayer, exact
from ..spikes import SpikeTimes
from .program.layers import Layer, Synapses
from .program.program import Program

LARGEST_TABLE = 1 << 26  # weights of a layer with groups, zeros between them included


class IntegerNet(nn.Module):
    """The scores of a program of windows without its steps: bytes times integer weights, int32 sums. No gradients.

    Parameters
    ----------
    program : Program
        Of `emulator.quantize`, for a net of windows.

    Raises
    ------
    TypeError
        For a program of another kind.
    ValueError
        For sums that may need more than 32 bits, or weights of more than 16.

    Examples
    --------
    >>> net = models.build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=16, timing="windowed")
    >>> program = emulator.quantize(net)
    >>> images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    >>> scores = emulator.IntegerNet(program)(images)
    >>> bool((scores.numpy() == emulator.run(program, images).scores).all())
    True
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        if not isinstance(program, Program) or program.timing != "windowed":
            raise TypeError(f"program must be a program of a net of windows, got {checks.shown(program)}")
        if program.readout.margin is not None:
            raise ValueError("program must not stop at a margin: the closed form has no steps; emulator.run has them")
        self.program = program
        self._kernel = IntegerKernel(program.input_shape, [_prepared(layer) for layer in program.layers])
        encoder = program.encoder
        self._whole = (encoder.kind, program.steps, encoder.padding, encoder.mean) == ("windowed", 255, (0, 0), None)
        self._known: torch.Size | None = None  # of images that were checked: for one image, checks take a fifth of the time

    def forward(self, x: Tensor | SpikeTimes) -> Tensor:
        """Integer scores, int32 [B, classes], of what the program takes: images, or spikes in the input's window."""
        return self._kernel(self._levels(x))

    def _levels(self, x: Tensor | SpikeTimes) -> Tensor:
        program = self.program
        if self._whole and isinstance(x, Tensor) and x.dtype == torch.uint8:  # a pixel is its level
            if x.shape[1:] != self._known:
                program.check_images(tuple(x.shape[1:]))
                self._known = x.shape[1:]
            return program.in_source_order(x)
        times = torch.from_numpy(program.input_times(x))
        return torch.where(times == SILENT, 0, program.steps - times.int()).to(torch.uint8)

    def __reduce__(self) -> tuple[type[IntegerNet], tuple[Program]]:
        return IntegerNet, (self.program,)


def _prepared(layer: Layer) -> IntegerLayer:
    inputs = [IntegerInput(part.source, part.pool, part.reads, part.stride, part.padding) for part in layer.inputs]
    none = torch.empty(0, dtype=torch.int32)
    if layer.neuron.kind == "pool":
        return IntegerLayer("largest", layer.steps, 0, layer.out_shape, inputs, none.short(), none, none)
    deep = layer.kind == "conv" and layer.groups == layer.in_shape[2] == layer.out_shape[2] and layer.shortcut is None
    if deep:
        rows = layer.weight.transpose(1, 2, 0, 3).reshape(-1, layer.groups)
    else:
        rows = np.concatenate([_rows(layer, part) for part in layer.inputs]).T
    offset, rise = layer.closed_form()
    return IntegerLayer(
        "depthwise" if deep else "dense",
        layer.steps,
        layer.shift,
        layer.out_shape,
        inputs,
        exact(rows, np.int16, f"layer {layer.name}: its weights"),
        exact(offset, np.int32, f"layer {layer.name}: its thresholds"),
        exact(rise if layer.fires else rise[:0], np.int32, f"layer {layer.name}: its rise"),
    )


def _rows(layer: Layer, part: Synapses) -> NDArray[np.signedinteger]:
    """The weights as a table of all input and output channels, [rows, outputs]."""
    entries = prod(part.reads) * part.in_shape[2] * layer.out_shape[2]
    if entries > LARGEST_TABLE and (part.groups > 1 or part.kind == "diagonal"):
        raise ValueError(f"layer {layer.name}: its groups make a table of {entries} weights; emulator.run takes them")
    return np.pad(part.dense().reshape(-1, part.outputs), ((0, 0), (0, layer.out_shape[2] - part.outputs)))
