"""Anchors of spikes that are put together or moved: expanded zeros whose only use is the gradient that passes through them.

Dense anchors are [T, B, ...] in any order of the neurons, as they are here for nothing but their shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._operator import operator


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return like.new_zeros(()).expand(shape)


def _made_of_zeros(schema: str, make: Callable[..., Tensor], save: Callable[..., None], gradients: Any) -> Any:
    """An operator that is the same function on every device, and in torch.compile."""
    return operator(schema, cpu=make, cuda=make, fake=make, save=save, gradients=gradients, linear=True)


def _rescale(anchor: Tensor, index: Tensor, steps: int) -> Tensor:
    return _zeros(anchor, steps, *anchor.shape[1:])


def _rescale_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _rescale_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return gradient.index_select(0, ctx.saved_tensors[0]), None, None


def _cat(one: Tensor, other: Tensor, dim: int) -> Tensor:
    shape = list(one.shape)
    shape[dim] += other.shape[dim]
    return _zeros(one, *shape)


def _cat_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    one, other, ctx.dim = inputs
    ctx.sizes = one.shape[ctx.dim], other.shape[ctx.dim]


def _cat_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    first, second = ctx.sizes
    return gradient.narrow(ctx.dim, 0, first), gradient.narrow(ctx.dim, first, second), None


def _earliest(one: Tensor, other: Tensor, first: Tensor) -> Tensor:
    return _zeros(one, *one.shape)


def _earliest_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])


def _earliest_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    (first,) = ctx.saved_tensors
    zero = gradient.new_zeros(())
    return torch.where(first, gradient, zero), torch.where(first, zero, gradient), None


def _spread(anchor: Tensor, size: Sequence[int], steps: Sequence[int]) -> Tensor:
    return _zeros(anchor, *anchor.shape[:3], *size)


def _spread_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    anchor, _, steps = inputs
    ctx.places = tuple(slice(0, n * step, step) for n, step in zip(anchor.shape[3:], steps, strict=True))


def _spread_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    rows, columns = ctx.places
    return gradient[:, :, :, rows, columns], None, None


class Supports(NamedTuple):
    """The arguments of `cat_supports` in the order of its schema."""

    one: Tensor
    offset_one: Tensor
    place_one: Tensor
    other: Tensor
    offset_other: Tensor
    place_other: Tensor
    groups_one: int
    groups_other: int


def _cat_supports(*arguments: Any) -> tuple[Tensor, ...]:
    a = Supports(*arguments)
    offsets, groups = (a.offset_one, a.offset_other), (a.groups_one, a.groups_other)
    sites = max(((len(o) - 1) // g for o, g in zip(offsets, groups, strict=True) if g), default=1)
    counts = [o.diff().view(sites, g) for o, g in zip(offsets, groups, strict=True)]  # g is 0 for an empty batch
    offset = torch.cat([a.offset_one[:1], torch.cat(counts, 1).flatten().cumsum(0)])
    begin = offset[:: max(sum(groups), 1)][:sites]
    targets = []
    for own, size, start in zip(offsets, groups, (begin, begin + counts[0].sum(1)), strict=True):
        edges = own[::size] if size else own.expand(sites + 1)  # a site's entries lie one after another in both lists
        shift = torch.repeat_interleave(start - edges[:-1], edges.diff(), output_size=int(own[-1]))
        targets.append(shift + torch.arange(len(shift), device=shift.device))
    place = torch.empty((2, sum(map(len, targets))), dtype=torch.uint8, device=offset.device)
    for target, own in zip(targets, (a.place_one, a.place_other), strict=True):
        place[:, target] = own
    return _zeros(a.one, place.shape[1]), offset, place, *targets


def _cat_supports_fake(*arguments: Any) -> tuple[Tensor, ...]:
    a = Supports(*arguments)
    first, second = a.place_one.shape[1], a.place_other.shape[1]
    return (
        _zeros(a.one, first + second),
        a.offset_one.new_empty(a.offset_one.shape[0] + a.offset_other.shape[0] - 1),
        a.place_one.new_empty((2, first + second)),
        a.offset_one.new_empty(first),
        a.offset_one.new_empty(second),
    )


def _cat_supports_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, offset, place, to_one, to_other = output
    ctx.mark_non_differentiable(offset, place, to_one, to_other)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(to_one, to_other)


def _cat_supports_gradient(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * len(Supports._fields)
    to_one, to_other = ctx.saved_tensors
    return gradient[to_one], None, None, gradient[to_other], None, None, None, None


# A dense anchor of maps [T, B, C, H, W] on larger ones, every `steps`-th row and column of which it fills.
spread_anchor = _made_of_zeros(
    "spread_anchor(Tensor anchor, SymInt[] size, int[] steps) -> Tensor", _spread, _spread_save, _spread_gradient
)
# A dense anchor over another number of steps; index: int64 [T], the new step of each old one.
rescale_anchor = _made_of_zeros(
    "rescale_anchor(Tensor anchor, Tensor index, SymInt steps) -> Tensor", _rescale, _rescale_save, _rescale_gradient
)
# Two dense anchors as one, along dimension `dim` of the anchors.
cat_anchors = _made_of_zeros("cat_anchors(Tensor one, Tensor other, int dim) -> Tensor", _cat, _cat_save, _cat_gradient)
# The dense anchor of the earlier of two spikes; first: bool [B, ...], true where it is `one`.
earliest_anchor = _made_of_zeros(
    "earliest_anchor(Tensor one, Tensor other, Tensor first) -> Tensor", _earliest, _earliest_save, _earliest_gradient
)
# Two supports of the same sites as one, the channels of the first before the other's: (anchor, offset, place) and where
# the entries of each have gone. groups: the number of groups per site; the first one's must be full.
cat_supports = operator(
    "cat_supports(Tensor one, Tensor offset_one, Tensor place_one, Tensor other, Tensor offset_other, Tensor place_other,"
    " SymInt groups_one, SymInt groups_other)"
    " -> (Tensor anchor, Tensor offset, Tensor place, Tensor to_one, Tensor to_other)",
    cpu=_cat_supports,
    cuda=_cat_supports,
    fake=_cat_supports_fake,
    save=_cat_supports_save,
    gradients=_cat_supports_gradient,
    linear=True,
)
