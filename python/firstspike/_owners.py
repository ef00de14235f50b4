"""Which bytes belong to spikes with a gradient: new spikes of them would lose it."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor

#: SpikeTimes with an anchor by the id of their tensor of times.
OWNERS: WeakValueDictionary[int, Any] = WeakValueDictionary()


def owned(times: Tensor, spikes: Any) -> Tensor:
    """The bytes as those of `spikes`, which have a gradient: a view of them where others have these very bytes."""
    if id(times) in OWNERS:
        times = times.detach()
    OWNERS[id(times)] = spikes
    return times


def has_owner(times: Tensor) -> bool:
    """Whether these bytes, or those that they are a view of, belong to spikes with a gradient."""
    owner = OWNERS.get(id(times))
    if owner is not None and owner.times is times:
        return bool(owner.requires_grad)
    place = _place(times)
    return bool(place) and any(each.requires_grad and _place(each.times) == place for each in list(OWNERS.values()))


def _place(times: Tensor) -> int:
    """The address of the memory; 0 where there is none."""
    plain = type(times) is Tensor and not times.is_meta and times.numel()
    return times.untyped_storage().data_ptr() if plain else 0
