"""Spike trains in which every neuron fires at most once: one byte per neuron, its time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _checks, _neuron_checks, _owners
from ._checks import MAX_STEPS, SILENT
from ._no_tensor import NoTensor
from ._sites import anchor_to_sites, from_sites, to_sites
from .ops import anchors as _anchors
from .ops import times as _ops


class Support(NamedTuple):
    """The steps at which a layer's surrogate derivative is not zero, in the order in which the kernels write them.

    Group i, of neighbouring channels of a site (`cpp/cpu/support.h`), has entries offset[i] to offset[i + 1], by step, then lane.
    """

    offset: Tensor  # int64 [groups + 1]
    slope: Tensor  # float32 [entries], sigma'(V[t] - threshold)
    place: Tensor  # uint8 [2, entries]: steps, and lanes, the neurons' places in their groups


class SpikeTimes(NoTensor):
    """Spike times of a batch of neurons that fire at most once.

    times: uint8 [B, ...], values 0 to steps - 1, and 255 for a silent neuron. Maps are [B, C, H, W], kept in
    `torch.channels_last` memory. steps: the number of time steps T, 1 to 254.

    Gradients travel beside the bytes, on an *anchor*: a float zero that autograd connects to the layer that fired
    (docs/model.md, section "Gradient anchor"). A layer with a sparse surrogate has an anchor with one element for each
    entry of its `Support`, so that nothing of size T x N is kept or sent; any other source has one element for each step
    and neuron, [T, B, ...]. The bytes of `times` alone carry none: put spikes together with `firstspike.cat`, not with
    `torch.cat` of their times, take parts by index, and say `detach()` to leave the gradient behind. New spikes made of
    the `times` of spikes with a gradient, or of a view of them, are refused; of a copy they are not.

    Works with torch's tools: a pytree, batched by `default_collate` (along the batch), loaded by `torch.load(weights_only=True)`.
    Raises TypeError or ValueError for times that are no such bytes, and for those of spikes with a gradient.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), steps=4)
        >>> spikes.count(), spikes.seconds(0.5)
        (tensor([2]), tensor([[0.0000, 1.5000,    inf]]))
    """

    times: Tensor  # bytes, without a gradient
    steps: int
    __slots__ = ("__weakref__", "_anchor", "_support", "steps", "times")

    def __init__(self, times: Tensor, steps: int) -> None:
        if not isinstance(times, Tensor):
            raise TypeError(f"times must be a torch.Tensor, got {type(times).__name__}")
        if times.dtype != torch.uint8:
            raise TypeError(f"times must be uint8 (255 = silent), got {times.dtype}")
        if times.dim() < 2:
            raise ValueError(f"times must have shape [batch, neurons, ...], got {tuple(times.shape)}")
        self.steps = _checks.steps(steps)
        if _checks.has_values(times) and torch.is_grad_enabled() and _owners.has_owner(times):
            raise ValueError(
                "times must not be those of spikes with a gradient, which would be lost: use the spikes themselves, "
                "spikes.detach(), or a copy of the bytes, times.clone()"
            )
        if _checks.has_values(times):
            wrong = (times >= steps) & (times != SILENT)
            if bool(wrong.any()):
                where = tuple(int(i) for i in wrong.nonzero()[0])
                raise ValueError(
                    f"times must be below steps = {steps} or 255 (silent), got {int(times[where])} at {where}"
                )
        if times.dim() == 4:
            times = times.contiguous(memory_format=torch.channels_last)
        self.times = times
        self._anchor: Tensor | None = None
        self._support: Support | None = None

    @classmethod
    def from_dense(cls, x: Tensor, keep: str | None = None) -> SpikeTimes:
        """Spike times of a dense train [T, B, ...] of zeros and ones; gradients flow back to `x`.

        keep: None refuses a neuron that fires more than once; "first" keeps its first spike, and the gradient reaches `x` up to
        that step. Raises ValueError naming the first neuron that fires twice, and the first value that is neither 0 nor 1.
        """
        x = _checks.float32("x", x)
        _checks.one_of("keep", keep, (None, "first"))
        if x.dim() < 3:
            raise ValueError(f"x must have shape [steps, batch, neurons, ...], got {tuple(x.shape)}")
        _checks.integer("the length of x, its number of steps,", x.shape[0], 1, MAX_STEPS)
        if _checks.has_values(x):
            _neuron_checks.check_single_spikes(x, several=keep == "first")
        if keep == "first":
            x = x * (x.detach().cumsum(0) - x.detach() == 0)
        return cls._of_fired(x)

    @classmethod
    def _of_fired(cls, x: Tensor) -> SpikeTimes:
        """`from_dense` of what `functional.fire` makes: nothing is checked."""
        anchor, times = _ops.from_dense(to_sites(x, lead=2))
        return cls._trusted(from_sites(times, x.shape[1:]), x.shape[0], from_sites(anchor, x.shape[1:]))

    def dense(self) -> Tensor:
        """The train as float32 [T, B, ...], ones at the spikes; differentiable."""
        anchor = self._dense_anchor()
        at_sites = None if anchor is None else anchor_to_sites(anchor)
        return from_sites(_ops.dense(to_sites(self.times), at_sites, self.steps), self.shape)

    def seconds(self, dt: float = 1.0) -> Tensor:
        """Times as float32 [B, ...] in units of `dt` per step, > 0; inf where silent. Not differentiable."""
        dt = _checks.positive("dt", dt)
        return (self.times.float() * dt).masked_fill(self.silent, torch.inf)

    @property
    def silent(self) -> Tensor:
        """Bool [B, ...]: neurons that never fire."""
        return self.times == SILENT

    def count(self) -> Tensor:
        """Number of spikes of each sample, int64 [B]."""
        return (self.times != SILENT).flatten(1).sum(1)

    @property
    def shape(self) -> torch.Size:
        """Shape of the times, [B, ...]."""
        return self.times.shape

    @property
    def device(self) -> torch.device:
        """Device of the times."""
        return self.times.device

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to whatever made these spikes."""
        return self._anchor is not None and self._anchor.requires_grad

    def __eq__(self, other: object) -> bool:
        """Whether two trains have the same shape, steps and times, whatever their gradients; the hash is that of the object."""
        if not isinstance(other, SpikeTimes):
            return NotImplemented
        if self is not other and (self.times.is_meta or other.times.is_meta):
            raise TypeError("spikes on the meta device have no times to compare")
        return self is other or (self.steps == other.steps and torch.equal(self.times, other.times))

    __hash__ = object.__hash__

    def __len__(self) -> int:
        return self.times.shape[0]

    def __repr__(self) -> str:
        known = self.times.numel() and not self.times.is_meta
        share = f", silent={float(self.silent.float().mean()):.1%}" if known else ""
        return f"SpikeTimes(shape={tuple(self.shape)}, steps={self.steps}{share}, requires_grad={self.requires_grad})"

    def reshape(self, *shape: int) -> SpikeTimes:
        """The same neurons in another shape [B, ...] of at least two dimensions; the batch stays the first."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        shape = tuple(_checks.integer("shape", size, -1) for size in shape)
        if len(shape) < 2 or shape[0] not in (-1, self.shape[0]):
            raise ValueError(
                f"shape must be [{self.shape[0]} samples, neurons, ...]: reshape keeps the batch, got {shape}"
            )
        neurons = math.prod(self.shape[1:])
        known = math.prod([size for size in shape[1:] if size != -1])
        if shape.count(-1) > 1 or (known and neurons % known) or (-1 not in shape[1:] and known != neurons):
            raise ValueError(f"shape must hold the {neurons} neurons of each sample, got {shape}")
        rest = neurons // max(known, 1)  # also where the batch is empty
        sizes = [rest if size == -1 else size for size in shape[1:]]
        if tuple(sizes) == tuple(self.shape[1:]):
            return self
        times = self.times.reshape(self.shape[0], *sizes)
        anchor = self._dense_anchor()
        return self._with(times, anchor if anchor is None else anchor.reshape(self.steps, *times.shape))

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> SpikeTimes:
        """Flatten the dimensions from `start_dim`, which must be at least 1 (the batch stays), to `end_dim`."""
        dims = self.times.dim()
        start_dim = _checks.integer("start_dim", start_dim, 1, dims - 1)
        end_dim = _checks.integer("end_dim", end_dim, -dims, dims - 1) % dims
        if end_dim < start_dim:
            raise ValueError(f"end_dim must not be before start_dim = {start_dim}, got {end_dim}")
        return self.reshape(*self.shape[:start_dim], -1, *self.shape[end_dim + 1 :])

    def __getitem__(self, index: slice | Tensor | tuple[slice, ...]) -> SpikeTimes:
        """Some of the samples or neurons: a slice of the batch, a tensor of the samples' numbers, or a slice per dimension.

        A tensor is int64 [samples], negative numbers count from the end, or bool [B]. Whatever is taken has the same number of
        dimensions. Raises TypeError for another kind of index, IndexError for a sample number out of range.
        """
        anchor = self._dense_anchor()
        if isinstance(index, Tensor):
            index = self._samples(index)
            return self._with(self.times[index], None if anchor is None else _ops.select_anchor(anchor, index))
        slices = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(item, slice) for item in slices):
            raise TypeError(
                f"index must be a slice, a slice per dimension or a tensor of samples, got {_checks.shown(index)}; "
                "sample i alone is [i : i + 1]"
            )
        if len(slices) > self.times.dim():
            raise IndexError(f"index must have at most {self.times.dim()} slices, got {len(slices)}")
        return self._with(self.times[slices], None if anchor is None else anchor[(slice(None), *slices)])

    def _samples(self, index: Tensor) -> Tensor:
        """Numbers of samples, int64 [samples], of an index."""
        if index.dim() != 1 or index.dtype not in (torch.bool, torch.int32, torch.int64):
            raise TypeError(f"index must be int64 [samples] or bool [batch], got {_checks.shown(index)}")
        batch = self.times.shape[0]
        if index.dtype == torch.bool:
            if index.shape[0] != batch:
                raise IndexError(f"index must have {batch} elements, one per sample, got {index.shape[0]}")
            return index.nonzero().flatten()
        if _checks.has_values(index) and index.numel():
            low, high = int(index.min()), int(index.max())
            if low < -batch or high >= batch:
                raise IndexError(f"index must be from {-batch} to {batch - 1}, got {low if low < -batch else high}")
        return torch.where(index < 0, index + batch, index).long()

    def rescale(self, steps: int) -> SpikeTimes:
        """The same spikes over another number of steps: a time t becomes floor(t steps / T), the step of the same moment.

        Step t of T covers the part t / T to (t + 1) / T of the run. Order is kept; with fewer steps different times may become
        equal. Silent neurons stay silent. The gradient of a new step goes to all old steps that became it.
        """
        steps = _checks.steps(steps)
        index = torch.arange(self.steps, device=self.device) * steps // self.steps
        table = torch.full((256,), SILENT, dtype=torch.uint8, device=self.device)
        table[: self.steps] = index.to(torch.uint8)
        anchor = self._dense_anchor()
        if anchor is not None:
            anchor = _anchors.rescale_anchor(anchor, index, steps)
        return SpikeTimes._trusted(table[self.times.long()], steps, anchor)

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> SpikeTimes:
        """The same spikes on another device; device, non_blocking: as of `torch.Tensor.to`.

        Raises TypeError for a dtype: times are bytes, `dense()` gives floats.
        """
        device = _checks.device(device)
        times = self.times.to(device, non_blocking=non_blocking)
        if times is self.times:
            return self
        anchor = self._dense_anchor()
        return self._with(times, anchor if anchor is None else anchor.to(device, non_blocking=non_blocking))

    def cpu(self) -> SpikeTimes:
        """The same spikes on the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | str = "cuda") -> SpikeTimes:
        """The same spikes on a CUDA device, by default the current one."""
        return self.to(device)

    def detach(self) -> SpikeTimes:
        """The same spikes, cut from the graph; a copy of the bytes where they are those of spikes with a gradient."""
        shared = self.requires_grad or (not torch.compiler.is_compiling() and _owners.has_owner(self.times))
        return self._with(self.times.clone() if shared else self.times, None)

    def _with(self, times: Tensor, anchor: Tensor | None) -> SpikeTimes:
        return SpikeTimes._trusted(times, self.steps, anchor)

    @classmethod
    def _trusted(
        cls, times: Tensor, steps: int, anchor: Tensor | None = None, support: Support | None = None
    ) -> SpikeTimes:
        """Times that a kernel made: nothing is checked."""
        compiling = torch.compiler.is_compiling()
        made = cls(times, steps) if compiling else cls.__new__(cls)  # torch 2.6 does not trace __new__
        if times.dim() == 4:
            times = times.contiguous(memory_format=torch.channels_last)
        made.times, made.steps, made._anchor, made._support = times, steps, anchor, support
        if anchor is not None and anchor.requires_grad and not compiling:
            _owners.mark(times)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as bytes and steps; a gradient does not cross to a file or another process."""
        return SpikeTimes, (self.times.detach(), self.steps)

    def __copy__(self) -> SpikeTimes:
        return SpikeTimes._trusted(self.times, self.steps, self._anchor, self._support)

    def __deepcopy__(self, memo: dict[int, Any]) -> SpikeTimes:
        if self.requires_grad:
            raise RuntimeError("spikes with a gradient cannot be copied deeply; detach() them first")
        return SpikeTimes._trusted(self.times.clone(), self.steps)

    def _dense_anchor(self) -> Tensor | None:
        """The anchor as [T, B, ...], whichever form it has."""
        if self._anchor is None or self._support is None:
            return self._anchor
        offset, _, place = self._support
        anchor = _ops.dense_anchor(self._anchor, offset, place, [self.steps, *to_sites(self.times).shape])
        return from_sites(anchor, self.shape)
