"""What the CUDA implementations share: pointers, the current stream, and how a support of unknown length is recorded.

A forward pass does not know how many support entries it will find. Each group of neurons first notes its entries in a
slot of `SLOT` entries a neuron (memory that is given back at once) and counts them. The counts are summed on the
device, the total is read, the one wait of a training step's layer, and the entries move to an array of exactly that
length; where a slot was too small the group's neurons are walked again. Inside `support_capacity` the array has a
fixed length instead: nothing waits, so that the pass can be captured in a CUDA graph; where the length is too small
every slope becomes NaN, and so do the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _extension
from .._geometry import Geometry

TILE = 32  # neurons of a support group: one warp (cpp/cuda/kernels.h)
SLOT = 4  # entries a neuron; not measured on a device yet


class Variant(NamedTuple):
    """How the layers' kernels run, 0 leaves the choice to them (cpp/cuda/kernels.h); ValueError where one is used."""

    tiles_a_warp: int = 0  # 1, 2 or 4 tiles of neurons side by side
    staging: int = 0  # weights in shared memory: 1 never, 2 where they fit
    product: int = 0  # of `fire_layer`: 1 event by event, as 0 chooses; 2 dense on tensor cores
    terms: int = 0  # of product 2: bfloat16s a weight is the sum of, 1 to 3; 0 chooses 3, which are exact


VARIANT = Variant()
_capacity: float | None = None


@cache
def kernels() -> Any:
    """The module of CUDA kernels; RuntimeError with the reason where there is none."""
    module, reason = _extension._cuda()
    if module is None:
        raise RuntimeError(f"firstspike has no CUDA kernels here: {reason}")
    if module.tile != TILE:
        raise RuntimeError(f"the CUDA module has tiles of {module.tile} neurons, not {TILE}: it is of another version")
    return module


@contextmanager
def on_device(tensor: Tensor) -> Iterator[int]:
    """Makes the tensor's device the current one; gives its current stream."""
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
    return tuple(pointer(tensor) for tensor in tensors)


def strides(weight: Tensor, geometry: Sequence[int]) -> tuple[int, ...]:
    """Strides of [outputs, channels, kernel height, kernel width], the order of the columns of a flat weight, too."""
    if weight.dim() == 4:
        return weight.stride()
    (row, column), layer = weight.stride(), Geometry(*geometry)
    return row, layer.kernel_height * layer.kernel_width * column, layer.kernel_width * column, column


def workspace(size: int, like: Tensor) -> Tensor:
    """Memory for a pass, on the device of `like`."""
    return torch.empty(size, dtype=torch.uint8, device=like.device)


def support_capacity(entries_a_neuron: float) -> AbstractContextManager[None]:
    """Give every support recorded on CUDA inside the `with` block a fixed length, so that no kernel waits for the host.

    entries_a_neuron: > 0, on average over a layer; a layer with more has NaN for its gradients, not silently wrong
    ones. Needed to capture a training step in a CUDA graph. No effect on the CPU. Raises ValueError.
    """
    if not entries_a_neuron > 0:
        raise ValueError(f"entries_a_neuron must be positive, got {entries_a_neuron}")
    return _with_capacity(float(entries_a_neuron))


@contextmanager
def _with_capacity(entries_a_neuron: float) -> Iterator[None]:
    global _capacity
    before, _capacity = _capacity, entries_a_neuron
    try:
        yield
    finally:
        _capacity = before


def fixed_entries(neurons: int, steps: int) -> int | None:
    """The fixed number of entries of a layer's support, None where it is as many as there are."""
    return None if _capacity is None else ceil(neurons * min(_capacity, steps))


class Recording:
    """The support of a forward pass while it is recorded."""

    def __init__(self, like: Tensor, groups: int, neurons: int, steps: int) -> None:
        self.groups, self.capacity = groups, fixed_entries(neurons, steps)
        self.slot = TILE * min(steps, SLOT)
        self.count = torch.empty(groups, dtype=torch.int32, device=like.device)
        self.entries = _entries(like, groups * self.slot)

    @property
    def slots(self) -> tuple[int, int, tuple[int, ...]]:
        """As the forward kernels take it."""
        return pointer(self.count), self.slot, _pointers(*self.entries)

    def place(self, run: Callable[[tuple[Any, ...]], None]) -> tuple[Tensor, ...]:
        """Sums the counts, and has `run` move the entries; returns (anchor, offset, slope, place)."""
        offset = torch.zeros(self.groups + 1, dtype=torch.int64, device=self.count.device)
        torch.cumsum(self.count, 0, dtype=torch.int64, out=offset[1:])
        overflow = None
        if self.capacity is None:
            if offset.is_cuda and torch.cuda.is_current_stream_capturing():
                raise RuntimeError("a CUDA graph needs supports of a fixed length: see firstspike.ops.support_capacity")
            capacity = int(offset[-1])
        else:
            capacity = self.capacity
            overflow = (offset[-1:] > capacity).to(torch.uint8)
            offset.clamp_(max=capacity)
        slope, place = _entries(self.count, capacity)
        run((pointer(offset), capacity, pointer(overflow), _pointers(slope, place)))
        anchor = torch.zeros((), dtype=torch.float32, device=offset.device).expand(capacity)
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


def _pointers(slope: Tensor, place: Tensor) -> tuple[int, ...]:
    return pointers(slope, *place)
