"""`SpikeTimes` as torch knows other containers of tensors: a pytree, batched by `default_collate`, loaded without pickles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data._utils.collate import default_collate_fn_map

from ._cat import cat
from .spikes import SpikeTimes, Support

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
        from_dumpable_context=_from_dumpable,
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
    names = ["times", *(["anchor"] if context[1] else []), *Support._fields]
    return [(pytree.GetAttrKey(name), part) for name, part in zip(names, parts, strict=False)], context


def _unflatten(parts: Any, context: Context) -> SpikeTimes:
    times, *others = parts
    steps, anchored, supported = context
    anchor = others.pop(0) if anchored else None
    made = SpikeTimes.__new__(SpikeTimes)
    made.times, made.steps, made._anchor, made._support = times, steps, anchor, Support(*others) if supported else None
    return made


def _from_dumpable(context: list[Any]) -> Context:
    steps, anchored, supported = context
    return steps, anchored, supported


def _collate(batch: list[SpikeTimes], *, collate_fn_map: Any = None) -> SpikeTimes:
    return cat(batch, dim=0)
