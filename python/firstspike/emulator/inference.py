"""Fast inference of nets of windows in integers: the closed form of docs/emulator.md, equal to the core's steps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._base import checks
from .._base.checks import SILENT
from ..ops.integers import IntegerInput, IntegerKernel, IntegerLayer
from ..spikes import SpikeTimes
from .program.program import Program
from .program.windows import WindowLayer, WindowProgram


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
        if not isinstance(program, WindowProgram):
            raise TypeError(f"program must be a program of a net of windows, got {checks.shown(program)}")
        self.program = program
        layers = [_prepared(layer, index) for index, layer in enumerate(program.layers)]
        self._kernel = IntegerKernel(program.input_shape, layers)

    def forward(self, x: Tensor | SpikeTimes) -> Tensor:
        """Integer scores, int32 [B, classes], of what the program takes: images, or spikes in the input's window."""
        return self._kernel(self._levels(x))

    def _levels(self, x: Tensor | SpikeTimes) -> Tensor:
        program, encoder = self.program, self.program.encoder
        whole = encoder.kind == "window" and program.steps == 255 and encoder.padding == (0, 0) and encoder.mean is None
        if whole and isinstance(x, Tensor) and x.dtype == torch.uint8:  # a pixel is its level
            program.check_images(tuple(x.shape[1:]))
            return torch.from_numpy(program.in_source_order(x))
        times = torch.from_numpy(program.input_times(x))
        return torch.where(times == SILENT, 0, program.steps - times.int()).to(torch.uint8)

    def __reduce__(self) -> tuple[type[IntegerNet], tuple[WindowProgram]]:
        return IntegerNet, (self.program,)


def _prepared(layer: WindowLayer, index: int) -> IntegerLayer:
    height, width, channels = layer.pooled_shape
    kernel = layer.kernel if layer.kind == "conv" else (height, width)
    inputs = [IntegerInput(index - 1, layer.pool, kernel, layer.stride, layer.padding)]
    none = torch.empty(0, dtype=torch.int32)
    if layer.pools:
        return IntegerLayer("largest", layer.steps, 0, layer.out_shape, inputs, none.short(), none, none)
    deep = layer.groups == channels == layer.out_shape[2] and layer.shortcut is None
    weight = layer.weight.transpose(1, 2, 0, 3) if layer.kind == "conv" else layer.weight
    rows = weight.reshape(-1, channels) if deep else _dense(weight, layer.groups)
    if (side := layer.shortcut) is not None:
        inputs.append(IntegerInput(side.source, side.pool, (1, 1), side.stride, (0, 0)))
        one_by_one = side.weight if side.weight.ndim == 2 else np.diag(side.weight)
        beside = np.zeros((len(one_by_one), layer.out_shape[2]), np.int32)
        beside[:, : one_by_one.shape[1]] = one_by_one
        rows = np.concatenate([rows, beside])
    offset = layer.bias - layer.reached + layer.rise * (layer.steps + 1) if layer.fires else layer.bias
    return IntegerLayer(
        "depthwise" if deep else "dense",
        layer.steps,
        layer.shift,
        layer.out_shape,
        inputs,
        _as(rows if deep else rows.T, np.int16, f"{layer.name}: its weights"),
        _as(offset, np.int32, f"{layer.name}: its thresholds"),
        _as(layer.rise if layer.fires else layer.rise[:0], np.int32, f"{layer.name}: its rise"),
    )


def _dense(weight: NDArray[np.signedinteger], groups: int) -> NDArray[np.signedinteger]:
    """Weights [..., channels of a group, outputs] as rows [rows, outputs] of all channels, with zeros between the groups."""
    *taps, inside, outputs = weight.shape
    if groups > 1:
        full = np.zeros((*taps, groups, inside, groups, outputs // groups), weight.dtype)
        for group in range(groups):
            full[..., group, :, group, :] = weight.reshape(*taps, inside, groups, -1)[..., group, :]
        weight = full
    return weight.reshape(-1, outputs)


def _as(values: NDArray[np.signedinteger], kind: type[np.signedinteger], what: str) -> Tensor:
    if values.size and max(-int(values.min()), int(values.max())) > np.iinfo(kind).max:
        raise ValueError(f"{what} must fit {np.iinfo(kind).bits} bits for fast inference; emulator.run takes them")
    return torch.from_numpy(np.ascontiguousarray(values, kind))
