"""Where a forward pass of a net begins and ends, for those who watch its layers by hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..spikes import SpikeTimes

_INPUTS = ("spikes", "x", "input")  # names of the input in layers of ours and of torch


def taken(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, SpikeTimes | None]:
    """What a module was called with: its input, None without one, and its shortcut; both by place or by name."""
    by_name = [named[name] for name in _INPUTS if name in named] or list(named.values())
    received = next(iter((*arguments[:1], *by_name)), None)
    shortcut = named.get("shortcut", arguments[1] if len(arguments) > 1 else None)
    return received, shortcut if isinstance(shortcut, SpikeTimes) else None


class Passes:
    """Knows whether the net as a whole is running, or its layers are called one by one.

    inside: whether it is. begin: called when a pass begins.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self.inside = False
        self._begin = begin

    def watch(self, net: nn.Module) -> list[Any]:
        """Hooks on the net, whose `remove` ends it."""
        self.inside = False
        return [net.register_forward_pre_hook(self._enter), net.register_forward_hook(self._leave, always_call=True)]

    def _enter(self, *_: object) -> None:
        self.inside = True
        self._begin()

    def _leave(self, *_: object) -> None:
        self.inside = False
