"""Activations of n bits, as quantised nets have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Levels(nn.Module):
    """Round x to unit * q, q = clamp(round(x / scale), low, high): the activation of a quantised net.

    With low 0 it is a ReLU that clips at scale * high, and a window of `high` steps has the same levels.

    scale: float32 [1], or one per channel. low, high: whole numbers, such as 0 and 15 of 4 bits, or -128 and 127. unit: the value
    of a level in what comes out, by default `scale`.
    """

    scale: Tensor
    unit: Tensor

    def __init__(self, scale: Tensor, low: int, high: int, unit: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach().float().reshape(-1).clone())
        self.register_buffer("unit", self.scale if unit is None else unit.detach().float().reshape(-1).clone())
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Rounded values in the shape of x [B, C, ...]; halves go to the even level, as in torch and ONNX."""
        scale, unit = (
            values if len(values) == 1 else values.view(-1, *[1] * (x.dim() - 2)) for values in (self.scale, self.unit)
        )
        return torch.clamp(torch.round(x / scale), self.low, self.high) * unit

    def extra_repr(self) -> str:
        """The range of levels, for print."""
        return f"low={self.low}, high={self.high}"
