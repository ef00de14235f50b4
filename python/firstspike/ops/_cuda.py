"""What the CUDA implementations share: pointers, the current stream, and how a support of unknown length is recorded.

A forward pass does not know how many support entries it will find. Each group of neurons first notes its entries in a
slot of `SLOT` entries per neuron (memory that is given back at once) and counts them. The counts are summed on the
device, the total is read, the one wait of a training step's layer, and the entries move to an array of exactly that
length; where a slot was too small the group's neurons are walked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .._base.geometry import Geometry
from .._base.kernels import find_cuda

TILE = 32  # neurons of a support group: one warp (cpp/cuda/kernels.h)
SLOT = 4  # entries per neuron; not measured on a device yet


@cache
def kernels() -> Any:
    """The module of CUDA kernels; RuntimeError with the reason where there is none."""
    module, reason = find_cuda()
    if module is None:
        raise RuntimeError(f"firstspike has no CUDA kernels here: {reason}")
    if module.tile != TILE:
        raise RuntimeError(f"the CUDA module has tiles of {module.tile} neurons, not {TILE}: it is of another version")
    return module


@contextmanager
def on_device(tensor: Tensor) -> Iterator[int]:
    """Make the tensor's device the current one; yields its current stream."""
    with torch.cuda.device(tensor.device):
        yield torch.cuda.current_stream(tensor.device).cuda_stream


def pointer(tensor: Tensor | None) -> int:
    """Address of a contiguous tensor's memory, 0 for None."""
    if tensor is None:
        return 0
    if not tensor.is_contiguous():
        raise ValueError(f"a kernel needs contiguous memory, got strides {tensor.stride()} of {tuple(tensor.shape)}")
    return tensor.data_ptr()


def pointers(*tensors: Tensor | None) -> tuple[int, ...]:
    """Addresses of several tensors."""
    return tuple(map(pointer, tensors))


class Arguments:
    """Tensors from outside as a kernel takes them: each address after a look at device, type, size and order in memory.

    The caller keeps the tensors until the kernel is launched. Raises ValueError naming the argument.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def floats(self, name: str, tensor: Tensor | None, size: int, dtype: torch.dtype = torch.float32) -> int:
        """Address of `size` values, 0 for None."""
        if tensor is None:
            return 0
        self._check(name, tensor, dtype)
        if tensor.numel() != size:
            raise ValueError(f"{name} must have {size} elements, got {tensor.numel()}")
        return pointer(tensor)

    def bytes(self, name: str, tensor: Tensor, size: int) -> int:
        """Address of `size` uint8 values."""
        return self.floats(name, tensor, size, torch.uint8)

    def integers(self, name: str, tensor: Tensor, size: int) -> int:
        """Address of `size` int64 values."""
        return self.floats(name, tensor, size, torch.int64)

    def weight(self, weight: Tensor, layer: Geometry) -> tuple[int, ...]:
        """Address and strides of a weight [outputs, channels, kernel height, kernel width], flat after the outputs or not."""
        whole = (layer.outputs, layer.channels, layer.kernel_height, layer.kernel_width)
        if tuple(weight.shape) not in (whole, (layer.outputs, math.prod(whole[1:]))):
            raise ValueError(f"weight must have shape {whole}, flat or not, got {tuple(weight.shape)}")
        self._check("weight", weight, torch.float32)
        return weight.data_ptr(), *strides(weight, layer)

    def support(self, offset: Tensor, place: Tensor, groups: int) -> tuple[int, ...]:
        """Addresses of a support's offsets, steps and lanes."""
        steps, lanes = place
        entries = len(steps)
        return (
            self.integers("offset", offset, groups + 1),
            self.bytes("the support's steps", steps, entries),
            self.bytes("the support's lanes", lanes, entries),
        )

    def _check(self, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
        if tensor.device != self.device:
            raise ValueError(f"{name} must be on {self.device}, got {tensor.device}")
        if tensor.dtype != dtype:
            raise ValueError(f"{name} must be {dtype}, got {tensor.dtype}")


def strides(weight: Tensor, layer: Geometry) -> tuple[int, ...]:
    """Strides of [outputs, channels, kernel height, kernel width], the order of the columns of a flat weight, too."""
    if weight.dim() == 4:
        return weight.stride()
    output, tap = weight.stride()
    return output, layer.kernel_height * layer.kernel_width * tap, layer.kernel_width * tap, tap


def workspace(size: int, like: Tensor) -> Tensor:
    """Memory for a pass, on the device of `like`."""
    return torch.empty(size, dtype=torch.uint8, device=like.device)


class Recording:
    """The support of a forward pass while it is recorded."""

    def __init__(self, like: Tensor, groups: int, steps: int) -> None:
        self.groups, self.slot = groups, TILE * min(steps, SLOT)
        self.count = torch.empty(groups, dtype=torch.int32, device=like.device)
        self.entries = _entries(like, groups * self.slot)

    @property
    def slots(self) -> tuple[int, int, tuple[int, ...]]:
        """As the forward kernels take it."""
        slope, place = self.entries
        return pointer(self.count), self.slot, pointers(slope, *place)

    def place(self, run: Callable[[tuple[Any, ...]], None]) -> tuple[Tensor, ...]:
        """Sum the counts and have `run` move the entries; returns (anchor, offset, slope, place)."""
        offset = torch.zeros(self.groups + 1, dtype=torch.int64, device=self.count.device)
        torch.cumsum(self.count, 0, dtype=torch.int64, out=offset[1:])
        slope, place = _entries(self.count, int(offset[-1]))
        run((pointer(offset), pointers(slope, *place)))
        anchor = torch.zeros((), dtype=torch.float32, device=offset.device).expand(slope.shape)
        return anchor, offset, slope, place


NO_SLOTS = (0, 0, (0, 0, 0))


def nothing_recorded(like: Tensor) -> tuple[Tensor, ...]:
    """(anchor, offset, slope, place) without entries."""
    slope, place = _entries(like, 0)
    anchor = torch.zeros(0, dtype=torch.float32, device=like.device)
    return anchor, torch.zeros(0, dtype=torch.int64, device=like.device), slope, place


def _entries(like: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return (
        torch.empty(number, dtype=torch.float32, device=like.device),
        torch.empty((2, number), dtype=torch.uint8, device=like.device),
    )
