"""Spike trains in which every neuron fires at most once: one byte per neuron, its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data._utils.collate import default_collate_fn_map

from ._base import checks
from ._base.checks import MAX_STEPS, SILENT
from ._base.geometry import anchor_to_sites, from_sites, to_sites
from .ops import times as _ops


class Support(NamedTuple):
    """The steps at which a layer's surrogate derivative is not zero, in the order in which the kernels write them.

    Group i, of neighbouring channels of a site (`cpp/cpu/support.h`), has entries offset[i] to offset[i + 1], by step, then lane.
    """

    offset: Tensor  # int64 [groups + 1]
    slope: Tensor  # float32 [entries], sigma'(V[t] - threshold)
    place: Tensor  # uint8 [2, entries]: steps, and lanes, the neurons' places in their groups


class SpikeTimes:
    """Spike times of a batch of neurons that fire at most once.

    Gradients travel next to the bytes, on an *anchor*: a float zero that autograd connects to the layer that fired
    (docs/model.md, section "Gradient anchor"). A layer with a sparse surrogate has an anchor with one element per entry of its
    `Support`, so that nothing of size T x N is stored; a layer of windows (`nn.WindowedLinear`) one with an element per neuron,
    [B, ...], for its value; any other source has one element per step and neuron, [T, B, ...]. The
    bytes of `times` carry no gradient: join spikes with `firstspike.cat`, not with `torch.cat` of their times.

    It is a pytree, batched by `default_collate` (along the batch), and loaded by `torch.load(weights_only=True)`.

    Parameters
    ----------
    times : uint8 [B, ...], values 0 to steps - 1, and 255 for a silent neuron. Maps are [B, C, H, W], in
        `torch.channels_last` memory.
    steps : the number of time steps T, 1 to 255; layers that run step by step take 254.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 3, 255]], dtype=torch.uint8), steps=4)
    >>> spikes.count(), spikes.seconds(0.5)
    (tensor([2]), tensor([[0.0000, 1.5000,    inf]]))
    """

    times: Tensor  # bytes, without a gradient
    steps: int
    __slots__ = ("__weakref__", "_anchor", "_support", "steps", "times")

    def __init__(self, times: Tensor, steps: int) -> None:
        checks.instance("times", times, Tensor, "a torch.Tensor")
        if times.dtype != torch.uint8:
            raise TypeError(f"times must be uint8 (255 = silent), got {times.dtype}")
        if times.dim() < 2:
            raise ValueError(f"times must have shape [batch, neurons, ...], got {tuple(times.shape)}")
        self.steps = checks.window(steps)
        if checks.has_values(times):
            wrong = (times >= steps) & (times != SILENT)
            if bool(wrong.any()):
                where = tuple(int(i) for i in wrong.nonzero()[0])
                raise ValueError(f"times must be below steps = {steps} or 255 (silent), got {int(times[where])} at {where}")
        if times.dim() == 4:
            times = times.contiguous(memory_format=torch.channels_last)
        self.times = times
        self._anchor: Tensor | None = None
        self._support: Support | None = None

    @classmethod
    def from_dense(cls, x: Tensor, keep: str | None = None) -> SpikeTimes:
        """Return the spike times of a dense train [T, B, ...] of zeros and ones; gradients flow back to `x`.

        keep: None refuses a neuron that fires more than once; "first" keeps its first spike, and the gradient reaches `x` up to
        that step.
        """
        x = checks.float32("x", x)
        checks.one_of("keep", keep, (None, "first"))
        if x.dim() < 3:
            raise ValueError(f"x must have shape [steps, batch, neurons, ...], got {tuple(x.shape)}")
        checks.integer("the length of x, its number of steps,", x.shape[0], 1, MAX_STEPS)
        if checks.has_values(x):
            odd, twice = (x != 0) & (x != 1), x.sum(0) > 1
            if bool(odd.any()):
                where = tuple(odd.nonzero()[0].tolist())
                raise ValueError(f"x must hold zeros and ones, got {float(x[where])} at [step, batch, ...] = {where}")
            if keep is None and bool(twice.any()):
                where = tuple(twice.nonzero()[0].tolist())
                raise ValueError(f"x must fire once per neuron, as {where} does not; keep='first' takes the first spike")
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
        dt = checks.positive("dt", dt)
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
        """Whether two trains have the same shape, steps and times, without their gradients; the hash is the object's."""
        if not isinstance(other, SpikeTimes):
            return NotImplemented
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
        samples = self.shape[0]  # len() would fix a symbolic number of samples
        if len(shape) < 2 or shape[0] not in (-1, samples):
            raise ValueError(f"shape must be [{samples} samples, neurons, ...], got {shape}")
        if shape[1:] == self.shape[1:]:
            return self
        times = self.times.reshape(shape)
        anchor, lead = self._anchor_and_lead()
        return SpikeTimes._trusted(times, self.steps, None if anchor is None else anchor.reshape(*lead, *times.shape))

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> SpikeTimes:
        """Flatten the dimensions from `start_dim`, at least 1 (the batch stays), to `end_dim`."""
        checks.integer("start_dim", start_dim, 1)
        return self.reshape(*self.times.flatten(start_dim, end_dim).shape)

    def __getitem__(self, index: slice | Tensor | tuple[slice, ...]) -> SpikeTimes:
        """Some of the samples or neurons: a slice of the batch, a tensor of the samples' numbers, or a slice per dimension.

        A tensor is int64 [samples], negative numbers count from the end, or bool [B]. The number of dimensions stays.
        """
        anchor, lead = self._anchor_and_lead()
        slices = index if isinstance(index, tuple) else (index,)
        if (isinstance(index, Tensor) and index.dim() != 1) or not all(isinstance(i, slice | Tensor) for i in slices):
            raise TypeError(
                f"index must be slices or a tensor of samples, got {checks.shown(index)}; sample i alone is [i : i + 1]"
            )
        anchor = None if anchor is None else anchor[(*map(slice, lead), *slices)]
        return SpikeTimes._trusted(self.times[slices], self.steps, anchor)

    def rescale(self, steps: int) -> SpikeTimes:
        """The same spikes over another number of steps: a time t becomes floor(t steps / T), the step of the same moment.

        Step t of T covers the part t / T to (t + 1) / T of the run. Order is kept; with fewer steps different times may become
        equal. Silent neurons stay silent. The gradient of a new step goes to all old steps that became it.
        """
        steps = checks.steps(steps)
        index = torch.arange(self.steps, device=self.device) * steps // self.steps
        table = torch.full((256,), SILENT, dtype=torch.uint8, device=self.device)
        table[: self.steps] = index.to(torch.uint8)
        anchor = self._dense_anchor()
        if anchor is not None:
            anchor = anchor.new_zeros(()).expand(steps, *self.shape).index_add(0, index, anchor)
        return SpikeTimes._trusted(table[self.times.long()], steps, anchor)

    def first(self, steps: int) -> SpikeTimes:
        """The spikes of the first `steps` steps, 1 to T, over these: neurons that would fire later are silent. No gradient."""
        steps = checks.integer("steps", steps, 1, self.steps)
        return SpikeTimes._trusted(self.times.masked_fill(self.times >= steps, SILENT), steps)

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> SpikeTimes:
        """Return the same spikes on another device; device, non_blocking: as of `torch.Tensor.to`."""
        device = torch.device(device)
        times = self.times.to(device, non_blocking=non_blocking)
        if times is self.times:
            return self
        anchor, _ = self._anchor_and_lead()
        return SpikeTimes._trusted(times, self.steps, None if anchor is None else anchor.to(device, non_blocking=non_blocking))

    def detach(self) -> SpikeTimes:
        """The same spikes, cut from the graph."""
        return SpikeTimes._trusted(self.times, self.steps)

    @classmethod
    def _trusted(cls, times: Tensor, steps: int, anchor: Tensor | None = None, support: Support | None = None) -> SpikeTimes:
        """Times that a kernel made: nothing is checked."""
        compiling = torch.compiler.is_compiling()
        spikes = cls(times, steps) if compiling else cls.__new__(cls)  # torch 2.6 does not trace __new__
        if times.dim() == 4:
            times = times.contiguous(memory_format=torch.channels_last)
        spikes.times, spikes.steps, spikes._anchor, spikes._support = times, steps, anchor, support
        return spikes

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as bytes and steps; a gradient does not cross to a file or another process."""
        return SpikeTimes, (self.times.detach(), self.steps)

    def __copy__(self) -> SpikeTimes:
        return SpikeTimes._trusted(self.times, self.steps, self._anchor, self._support)

    def _dense_anchor(self) -> Tensor | None:
        """The anchor as [T, B, ...], whichever form it has; TypeError where it is that of values."""
        if self._is_valued():
            raise TypeError("these spikes carry the gradient of their values: layers of windows take it, detach() is for others")
        if self._anchor is None or self._support is None:
            return self._anchor
        offset, _, place = self._support
        anchor = _ops.dense_anchor(self._anchor, offset, place, [self.steps, *to_sites(self.times).shape])
        return from_sites(anchor, self.shape)

    def _is_valued(self) -> bool:
        """Whether the anchor belongs to the values of a layer of windows, [B, ...]."""
        return self._anchor is not None and self._support is None and self._anchor.dim() == self.times.dim()

    def _anchor_and_lead(self) -> tuple[Tensor | None, tuple[int, ...]]:
        """The anchor, with what its shape has before the times: the steps, or nothing where it is that of values."""
        return (self._anchor, ()) if self._is_valued() else (self._dense_anchor(), (self.steps,))

    def _value_anchor(self) -> Tensor | None:
        """The anchor of the values (T - t) / T, [B, ...], whichever form it has."""
        anchor, lead = self._anchor_and_lead()
        if anchor is None or not lead:
            return anchor
        value = 1 - torch.arange(self.steps, device=self.device) / self.steps
        return (value.view(-1, *[1] * self.times.dim()) * anchor).sum(0)


def cat(trains: Sequence[SpikeTimes], dim: int = 1) -> SpikeTimes:
    """Join spikes as `torch.cat` does: by default the neurons or channels of each sample. Each train gets its gradient.

    The current of a layer on joined trains is the sum of one product per train. `torch.cat` on the `times` would lose the
    gradients without an error, as bytes carry none.

    Parameters
    ----------
    trains : at least one; all with the same steps, device and shape, except for the size of dimension `dim`.
    dim : 0 is the batch.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 255]], dtype=torch.uint8), steps=4)
    >>> cat([spikes, spikes]).times
    tensor([[  0, 255,   0, 255]], dtype=torch.uint8)
    """
    trains = checks.in_order("trains", trains, SpikeTimes, "SpikeTimes")
    if not trains:
        raise ValueError("trains must be at least one")
    first: SpikeTimes = trains[0]
    dims = first.times.dim()
    dim = checks.integer("dim", dim, -dims, dims - 1) % dims
    for train in trains[1:]:
        shapes = [[n for d, n in enumerate(each.shape) if d != dim] for each in (first, train)]
        if train.times.dim() != dims or shapes[0] != shapes[1] or train.steps != first.steps:
            raise ValueError(f"trains must have the same steps, and shapes but for dimension {dim}, got {first}, {train}")
        checks.same_device("trains", first.times, "one of them", train.times)
    times, anchor = torch.cat([train.times for train in trains], dim), None
    if any(train._anchor is not None for train in trains):
        valued = any(train._is_valued() for train in trains)
        anchors = [train._value_anchor() if valued else train._dense_anchor() for train in trains]
        lead = () if valued else (first.steps,)
        zero = torch.zeros((), dtype=torch.float32, device=first.device)
        joined = [zero.expand(*lead, *t.shape) if a is None else a for t, a in zip(trains, anchors, strict=True)]
        anchor = torch.cat(joined, dim + len(lead))
    return SpikeTimes._trusted(times, first.steps, anchor)


#: Steps, whether there is an anchor, whether it is at a support.
Context = tuple[int, bool, bool]


def register() -> None:
    """Tell torch about `SpikeTimes`; called once, when the package is imported."""
    pytree.register_pytree_node(
        SpikeTimes,
        _flatten,
        _unflatten,
        serialized_type_name="firstspike.SpikeTimes",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
        flatten_with_keys_fn=_flatten_with_keys,
    )
    torch.serialization.add_safe_globals([SpikeTimes])
    default_collate_fn_map[SpikeTimes] = _collate


def _flatten(spikes: SpikeTimes) -> tuple[list[Tensor], Context]:
    anchor, support = spikes._anchor, spikes._support
    parts = [spikes.times, *([] if anchor is None else [anchor]), *(support or ())]
    return parts, (spikes.steps, anchor is not None, support is not None)


def _flatten_with_keys(spikes: SpikeTimes) -> tuple[list[tuple[Any, Tensor]], Context]:
    parts, context = _flatten(spikes)
    names = ["times", "anchor", *Support._fields]
    return [(pytree.GetAttrKey(name), part) for name, part in zip(names, parts, strict=False)], context


def _unflatten(parts: Any, context: Context) -> SpikeTimes:
    times, *others = parts
    steps, anchored, supported = context
    anchor = others.pop(0) if anchored else None
    spikes = SpikeTimes.__new__(SpikeTimes)
    spikes.times, spikes.steps, spikes._anchor, spikes._support = times, steps, anchor, Support(*others) if supported else None
    return spikes


def _collate(batch: list[SpikeTimes], *, collate_fn_map: Any = None) -> SpikeTimes:
    return cat(batch, dim=0)
