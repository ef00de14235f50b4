"""How many additions a layer's kernels must make, counted from the spikes of a real batch.

An input spike adds one weight row to the neurons that it reaches. A tile of neurons (cpp/cpu/layer/tiles.h) needs no more
rows once all its neurons have fired; dL/dW needs those up to the last step at which the tile has a gradient; dL/ds
multiplies and adds one weight row for each entry of the support.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """A layer: `kernel` (rows, columns) cells of `channels`, to `outputs` neurons per site; pool, stride, padding as in
    functional.

    A fully connected layer has the kernel (cells, cells) of its whole map, (1, 1) for flat input.
    """

    channels: int
    outputs: int
    kernel: tuple[int, int]
    pool: int = 1
    stride: int = 1
    padding: int = 0

    @property
    def rows(self) -> int:
        """Weight rows: inputs of a neuron."""
        return self.channels * self.kernel[0] * self.kernel[1]


def events(times: Tensor, steps: int, shape: Shape) -> Tensor:
    """Input spikes that reached a site by the end of each step, int64 [B, H', W', T], of times uint8 [B, C, H, W]."""
    step = torch.arange(steps, dtype=torch.int16)[:, None, None, None]
    per_step = torch.stack([(times == t).sum(1) for t in step.flatten().tolist()], 1).float()  # [B, T, H, W]
    if shape.pool > 1:
        per_step = F.avg_pool2d(per_step, shape.pool, divisor_override=1)
    ones = torch.ones(steps, 1, *shape.kernel)
    reached = F.conv2d(per_step, ones, stride=shape.stride, padding=shape.padding, groups=steps)
    return reached.round().long().cumsum(1).movedim(1, -1)


def tiles(outputs: int, tile: int) -> Tensor:
    """The neurons of each tile, int64 [tiles]."""
    return torch.tensor([min(tile, outputs - first) for first in range(0, outputs, tile)])


def last_needed(fired: Tensor, steps: int, tile: int) -> Tensor:
    """The last step at which a tile still has a neuron to fire, int64 [B, H', W', tiles], of times uint8 [B, O, H',
    W'].
    """
    late = fired.movedim(1, -1).long()
    late = torch.where(late >= steps, steps - 1, late)  # silent
    padded = F.pad(late, (0, -late.shape[-1] % tile))
    return torch.unflatten(padded, -1, (-1, tile)).amax(-1)


def last_gradient(offset: Tensor, step: Tensor, groups: tuple[int, ...]) -> Tensor:
    """The last step at which a tile has an entry of its support, -1 for none, int64 of shape `groups` = [B, H', W',
    tiles].
    """
    last = torch.where(offset[1:] > offset[:-1], step.long()[(offset[1:] - 1).clamp(min=0)], -1)
    return last.reshape(groups)


def additions(reached: Tensor, last: Tensor, outputs: int, tile: int) -> int:
    """Additions of one float: the spikes up to each tile's last step, times its neurons."""
    index = last.clamp(min=0)
    spikes = reached.unsqueeze(-2).expand(*last.shape, reached.shape[-1]).gather(-1, index.unsqueeze(-1)).squeeze(-1)
    spikes = torch.where(last < 0, 0, spikes)
    return int((spikes * tiles(outputs, tile)).sum())


def multiply_additions(offset: Tensor, cells: tuple[int, int], groups: tuple[int, ...], shape: Shape) -> int:
    """Multiply-additions of dL/ds: each entry with the weights of all inputs that lie within the map."""
    entries = (offset[1:] - offset[:-1]).reshape(groups).sum(-1)  # [B, H', W']
    within = F.conv2d(torch.ones(1, 1, *cells), torch.ones(1, 1, *shape.kernel), stride=shape.stride, padding=shape.padding)
    return int((entries * within[0].long()).sum()) * shape.channels
