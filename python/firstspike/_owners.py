"""Which bytes belong to spikes with a gradient: new spikes of them would lose it.

The mark is at the memory of the bytes, so it lasts as long as they or a view of them do, whatever becomes of the spikes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

_MARK = "_firstspike_has_gradient"


def mark(times: Tensor) -> None:
    """Note that these bytes are those of spikes with a gradient."""
    memory = _memory(times)
    if memory is not None:
        setattr(memory, _MARK, True)


def has_owner(times: Tensor) -> bool:
    """Whether these bytes, or those that they are a view of, are those of spikes with a gradient."""
    return getattr(_memory(times), _MARK, False)


def _memory(times: Tensor) -> Any:
    """The storage, of which torch keeps one object as long as it lives; None where there is none."""
    plain = type(times) is Tensor and not times.is_meta and times.numel()
    return times.untyped_storage() if plain else None
