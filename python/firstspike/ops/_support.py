"""What the implementations of several operators share: memory, supports and their shapes (for CUDA, `_cuda`).

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

_LARGE = 4096  # floats from which the kernels' own store of blocks is worth its overhead
cpu: Any = kernels.cpu
Maybe = Tensor | None
# Neurons per support group, neighbouring channels of one site of one sample, by device type. The operators that record a support
# take it as an argument, so that it stands in their graphs: on the CPU it depends on the instruction set.
TILES: dict[str, int] = {"cpu": cpu.tile, "cuda": _cuda.TILE, "meta": cpu.tile}
_NO_SUPPORT = (
    torch.empty(0, dtype=torch.int64),
    torch.empty(0, dtype=torch.float32),
    torch.empty((2, 0), dtype=torch.uint8),
)


def array(tensor: Tensor | None) -> Any:
    """A tensor's memory as the bindings take it, without a copy."""
    return None if tensor is None else to_dlpack(tensor)


def arrays(tensors: Sequence[Tensor], needs: Sequence[bool]) -> list[Any]:
    """The memory of the tensors that are needed, None for the others."""
    return [to_dlpack(x) if need else None for x, need in zip(tensors, needs, strict=True)]


def support_of(offset: Tensor | None, place: Tensor | None) -> tuple[Any, Any] | None:
    """The arrays of a support as the kernels take them, None where there is none."""
    return None if offset is None or place is None else (to_dlpack(offset), to_dlpack(place))


def gradients_of(kernel: Callable[..., Any], a: Any, *inputs: Any) -> tuple[Tensor, ...]:
    """The gradients of a backward pass at a layer's support, by a kernel that takes the inputs behind geometry and neuron."""
    gradients = tuple(empty(shape) for shape in a.shapes)
    entries = support_of(a.offset, a.place), array(a.slope), array(a.gradient.contiguous())
    source = support_of(a.in_offset, a.in_place)
    kernel(a.geometry, neuron_with(a.decays), *inputs, *entries, source, threads(), *arrays(gradients, a.needs))
    return gradients


def empty(shape: Sequence[int]) -> Tensor:
    """Uninitialised float32 memory that the kernels reuse once it is freed: fresh pages cost more than filling them."""
    size = math.prod(shape)
    # Sizes one by one: from a torch.Size, torch parses them in another microsecond.
    return torch.from_numpy(cpu.empty(size)).view(*shape) if size >= _LARGE else torch.empty(shape, dtype=torch.float32)


def decays_of(neuron: Sequence[float]) -> tuple[float, float]:
    """The decays of a neuron's membrane and of its synaptic current: what gradients need of it."""
    return neuron[1], neuron[4]


def neuron_with(decays: Sequence[float]) -> tuple[float, ...]:
    """A neuron with these decays for kernels that look at nothing else."""
    decay, synaptic_decay = decays
    return 0.0, decay, 0.0, 1.0, synaptic_decay


def threads() -> int:
    """How many threads a kernel may use: as many as torch."""
    return torch.get_num_threads()


def tile_of(device: torch.device) -> int:
    """Neurons per support group on this device; RuntimeError if firstspike has no kernels for it."""
    if device.type not in TILES:
        raise RuntimeError(f"spikes must be on the CPU or a CUDA device, where firstspike's kernels run, got device {device}")
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


def require_record(ctx: Any, name: str) -> None:
    """Refuse the gradient of an operator that was called without `record`."""
    if not ctx.record:
        raise RuntimeError(f"{name} recorded nothing to differentiate: call it with record=True")


def only(gradients: Sequence[Tensor], needs: Sequence[bool]) -> list[Tensor | None]:
    """The gradients that are needed, None for the others."""
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


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


def fake_recorded(like: Tensor, sites: int, channels: int, record: bool, tile: int) -> tuple[Tensor, ...]:
    """The shapes of `recorded`; how many entries there are depends on the data, and without data there are none."""
    groups = groups_of(sites, channels, tile)
    entries = data_dependent_size() if record and like.device.type != "meta" else 0
    zero = like.new_zeros((), dtype=torch.float32)
    return (
        zero.expand(entries) if record else like.new_empty(0, dtype=torch.float32),
        like.new_empty(groups + 1 if record else 0, dtype=torch.int64),
        like.new_empty(entries, dtype=torch.float32),
        like.new_empty((2, entries), dtype=torch.uint8),
    )


def anchor_like(anchor: Tensor | None, times: Tensor) -> Tensor:
    """The anchor of spikes made from spikes with this anchor, of the same shape; an anchor without elements for None."""
    zero = times.new_zeros((), dtype=torch.float32)
    return zero.expand(0 if anchor is None else anchor.shape)


def same_shape(first: Tensor, *_: Any) -> Tensor:
    """The fake kernel of an operator that returns a contiguous tensor of the shape and type of its first argument."""
    return first.new_empty(first.shape)


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
