"""What the CUDA implementations share: pointers, the current stream, and how a support of unknown length is recorded.

A forward pass does not know how many support entries it will find. Each group of neurons first notes its entries in a
slot of `SLOT` entries per neuron (memory that is given back at once) and counts them. The counts are summed on the
device, the total is read, the one wait of a training step's layer, and the entries move to an array of exactly that
length; where a slot was too small the group's neurons are walked again. Inside `support_capacity` the array has a fixed
length instead: nothing waits, so that the pass can be captured in a CUDA graph; where the length is too small every
slope becomes NaN, and so do all gradients that are made with them (`poisoned`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import Geometry
from .._base.kernels import find_cuda

TILE = 32  # neurons of a support group: one warp (cpp/cuda/kernels.h)
SLOT = 4  # entries per neuron; not measured on a device yet


class Variant(NamedTuple):
    """How the layers' kernels run, 0 leaves the choice to them (cpp/cuda/kernels.h); ValueError where one is used."""

    tiles_per_warp: int = 0  # 1, 2 or 4 tiles of neurons side by side
    staging: int = 0  # weights in shared memory: 1 never, 2 where they fit
    product: int = 0  # of `fire_layer`: 1 event by event, as 0 chooses; 2 dense on tensor cores
    terms: int = 0  # of product 2: how many bfloat16s a weight is the sum of, 1 to 3; 0 chooses 3, which are exact


VARIANT = Variant()
_capacity: ContextVar[float | None] = ContextVar("firstspike_support_capacity", default=None)


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


class Arguments:
    """Tensors from outside as a kernel takes them: each address after a look at device, type, size and order in memory.

    The caller keeps the tensors until the kernel is launched. Raises ValueError naming the argument.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def floats(self, name: str, tensor: Tensor | None, size: int) -> int:
        """Address of `size` float32 values, 0 for None."""
        return self._address(name, tensor, torch.float32, size)

    def bytes(self, name: str, tensor: Tensor | None, size: int) -> int:
        """Address of `size` uint8 values, 0 for None."""
        return self._address(name, tensor, torch.uint8, size)

    def integers(self, name: str, tensor: Tensor | None, size: int) -> int:
        """Address of `size` int64 values, 0 for None."""
        return self._address(name, tensor, torch.int64, size)

    def weight(self, weight: Tensor, layer: Geometry) -> tuple[int, tuple[int, ...]]:
        """Address and strides of a weight [outputs, channels, kernel height, kernel width], flat after the outputs or not."""
        whole = (layer.outputs, layer.channels, layer.kernel_height, layer.kernel_width)
        if tuple(weight.shape) not in (whole, (layer.outputs, math.prod(whole[1:]))):
            raise ValueError(f"weight must have shape {whole}, flat or not, got {tuple(weight.shape)}")
        self._check("weight", weight, torch.float32)
        return weight.data_ptr(), strides(weight, layer)

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

    def _address(self, name: str, tensor: Tensor | None, dtype: torch.dtype, size: int) -> int:
        if tensor is None:
            return 0
        self._check(name, tensor, dtype)
        if tensor.numel() != size:
            raise ValueError(f"{name} must have {size} elements, got {tensor.numel()}")
        return pointer(tensor)


def strides(weight: Tensor, layer: Geometry) -> tuple[int, ...]:
    """Strides of [outputs, channels, kernel height, kernel width], the order of the columns of a flat weight, too."""
    if weight.dim() == 4:
        return weight.stride()
    output, tap = weight.stride()
    return output, layer.kernel_height * layer.kernel_width * tap, layer.kernel_width * tap, tap


def workspace(size: int, like: Tensor) -> Tensor:
    """Memory for a pass, on the device of `like`."""
    return torch.empty(size, dtype=torch.uint8, device=like.device)


def support_capacity(entries_per_neuron: float) -> AbstractContextManager[None]:
    """Give every support recorded on CUDA inside the `with` block a fixed length, so that no kernel waits for the host.

    entries_per_neuron: > 0, on average over a layer; a layer with more has NaN for all its gradients, not silently wrong
    ones. Needed to capture a training step in a CUDA graph. It holds for the thread or the task that enters it, and has
    no effect on the CPU. Raises ValueError.
    """
    if not entries_per_neuron > 0:
        raise ValueError(f"entries_per_neuron must be positive, got {entries_per_neuron}")
    return _with_capacity(float(entries_per_neuron))


@contextmanager
def _with_capacity(entries_per_neuron: float) -> Iterator[None]:
    before = _capacity.set(entries_per_neuron)
    try:
        yield
    finally:
        _capacity.reset(before)


def fixed_entries(neurons: int, steps: int) -> int | None:
    """The fixed number of entries of a layer's support, None where it is as many as there are."""
    capacity = _capacity.get()
    return None if capacity is None else math.ceil(neurons * min(capacity, steps))


def has_fixed_length() -> bool:
    """Whether supports recorded now have a fixed length."""
    return _capacity.get() is not None


def poisoned(gradients: tuple[Tensor, ...], slope: Tensor) -> tuple[Tensor, ...]:
    """The gradients made with a support of a fixed length: NaN throughout where it was too short, that is, where slopes are NaN.

    Neurons that lost all their entries would have the gradient 0 without it.
    """
    poison = slope[:1].sum() * 0
    return tuple(gradient + poison for gradient in gradients)


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
        if self.capacity is not None:
            slope[:1].zero_()  # of a support without entries no kernel writes it, and `poisoned` reads it
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
