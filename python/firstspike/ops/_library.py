"""The torch.library namespace `firstspike`, and what its CPU implementations share (for CUDA: `_cuda`).

Inside the operators spikes lie in *site order*, uint8 [B, H, W, C] and contiguous; a flat layer has H = W = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._library import fake_impl
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from .._base import kernels
from .._base.geometry import Geometry
from . import _cuda
from ._eager import eager

_LARGE = 4096  # floats from which the kernels' own store of blocks is worth its overhead
CUDA_IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}  # by name, for the tests
LIBRARY = torch.library.Library("firstspike", "FRAGMENT")
# A layer's input: its spikes, and the anchor that they came with; where the anchor is a list, its support's offset and place.
INPUT = "Tensor times, Tensor? anchor, Tensor? in_offset, Tensor? in_place"
cpu: Any = kernels.cpu
# Neurons per support group, neighbouring channels of one site of one sample, by device type. The operators that record a support
# take it as an argument, so that it stands in their graphs: on the CPU it depends on the instruction set.
TILES: dict[str, int] = {"cpu": cpu.tile, "cuda": _cuda.TILE, "meta": cpu.tile}
_NO_SUPPORT = (
    torch.empty(0, dtype=torch.int64),
    torch.empty(0, dtype=torch.float32),
    torch.empty((2, 0), dtype=torch.uint8),
)


def operator(
    schema: str,
    *,
    cpu: Callable[..., Any],
    cuda: Callable[..., Any] | None,
    fake: Callable[..., Any],
    save: Callable[..., None] | None = None,
    gradients: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Define an operator with its implementations, its fake kernel and its derivative; returns it as a function.

    cuda: None where it is for the CPU alone.
    save, gradients: `setup_context` and `backward` of `torch.library.register_autograd`.
    """
    name = schema[: schema.index("(")]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, _untraced(cpu), "CPU")
    if cuda is not None:
        LIBRARY.impl(name, _untraced(cuda), "CUDA")
        CUDA_IMPLEMENTATIONS[name] = cuda
    torch.library.register_fake(f"firstspike::{name}", fake, lib=LIBRARY)
    if gradients is not None:
        saved = None if save is None else _untraced(save)
        torch.library.register_autograd(f"firstspike::{name}", _untraced(gradients), setup_context=saved, lib=LIBRARY)
    return eager(getattr(torch.ops.firstspike, name).default, cpu, save, gradients)


def require_record(ctx: Any, name: str) -> None:
    """Refuse the gradient of an operator that was called without `record`."""
    if not ctx.record:
        raise RuntimeError(f"{name} recorded nothing to differentiate: call it with record=True")


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of an operator, which torch.compile must not look into where it cannot take the operator into its graph."""
    disabled: Callable[..., Any] = torch.compiler.disable(function)
    return disabled


def array(tensor: Tensor | None) -> Any:
    """A tensor's memory as the bindings take it, without a copy."""
    return None if tensor is None else to_dlpack(tensor)


def empty(shape: Sequence[int]) -> Tensor:
    """Uninitialised float32 memory that the kernels reuse once it is freed: fresh pages cost more than filling them."""
    size = math.prod(shape)
    return torch.from_numpy(cpu.empty(size)).view(shape) if size >= _LARGE else torch.empty(shape, dtype=torch.float32)


def threads() -> int:
    """How many threads a kernel may use: as many as torch."""
    return torch.get_num_threads()


def support_of(offset: Tensor, place: Tensor) -> tuple[Any, Any]:
    """The arrays of a support, as the kernels take them."""
    return to_dlpack(offset), to_dlpack(place)


def tile_of(device: torch.device) -> int:
    """Neurons per support group on this device; RuntimeError where no kernels are."""
    if device.type not in TILES:
        raise RuntimeError(
            f"spikes must be on the CPU or a CUDA device, where firstspike's kernels run, got device {device}"
        )
    return TILES[device.type]


def groups_of(sites: int, channels: int, tile: int) -> int:
    """Number of support groups of `tile` neurons of `sites` sites of `channels` neurons."""
    return sites * ((channels + tile - 1) // tile)


def check_tile(tile: int, device_type: str) -> None:
    """Refuse a compiled or exported net that was made for kernels of another width."""
    if tile != TILES[device_type]:
        raise RuntimeError(
            f"this net was compiled for support groups of {tile} neurons, but the kernels here have {TILES[device_type]} "
            f"(instruction set {kernels.ISA}): compile it again"
        )


def recorded(result: tuple[Any, Any, Any] | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(anchor, offset, slope, place) from what a kernel recorded, or empty ones."""
    if result is None:
        return torch.empty(0, dtype=torch.float32), *_NO_SUPPORT
    offset, slope, place = (torch.from_numpy(part) for part in result)
    return torch.zeros((), dtype=torch.float32).expand(slope.shape), offset, slope, place


def data_dependent_size() -> Any:
    """A size that depends on the data; torch.compile keeps the operator in its graph, without `fullgraph` too.

    `new_dynamic_size` would end the graph there, in case the code after it asks for the value; our code never does.
    """
    context: Any = torch.library.get_ctx()
    environment, allocate = getattr(context, "_shape_env", None), getattr(fake_impl, "allocate_size", None)
    return context.new_dynamic_size() if environment is None or allocate is None else allocate(environment)


def fake_recorded(
    like: Tensor, sites: int, channels: int, steps: int, record: bool, tile: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The shapes of `recorded`: how many entries there are depends on the data, or on `_cuda.support_capacity`."""
    groups = groups_of(sites, channels, tile)
    fixed = _cuda.fixed_entries(sites * channels, steps) if like.device.type == "cuda" else None
    if like.device.type == "meta":  # no data, no entries
        fixed = 0
    entries = 0 if not record else data_dependent_size() if fixed is None else fixed
    anchor = (
        like.new_zeros((), dtype=torch.float32).expand(entries) if record else like.new_empty(0, dtype=torch.float32)
    )
    return (
        anchor,
        like.new_empty(groups + 1 if record else 0, dtype=torch.int64),
        like.new_empty(entries, dtype=torch.float32),
        like.new_empty((2, entries), dtype=torch.uint8),
    )


def anchor_like(anchor: Tensor | None, times: Tensor) -> Tensor:
    """The anchor of spikes made from spikes with this anchor, of the same shape; an anchor without elements for None."""
    zero = times.new_zeros((), dtype=torch.float32)
    return zero.expand(0 if anchor is None else anchor.shape)


def gradient_shapes(
    times: Tensor, in_place: Tensor | None, weight: Tensor, layer: Geometry, needs: Sequence[bool]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shapes of a layer's gradients at its input's anchor, its weight and its bias; those that nobody needs are empty."""
    at_anchor = (layer.steps, *times.shape) if in_place is None else (in_place.shape[1],)
    return (
        at_anchor if needs[0] else (0,),
        tuple(weight.shape) if needs[1] else (0,),
        (layer.outputs if needs[2] else 0,),
    )
