"""Where a forward pass of a net begins and ends, for those who watch its layers by hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from torch import nn

from ..spikes import SpikeTimes


def taken(module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, SpikeTimes | None]:
    """What a module was called with: its input, None without one, and its shortcut; both by place or by name."""
    try:
        bound = signature(module.forward).bind(*arguments, **named).arguments
    except (TypeError, ValueError):  # a forward that Python cannot look into
        bound = {}
    received = arguments[0] if arguments else next(iter(named.values()), None)
    shortcut = bound.get("shortcut", named.get("shortcut", arguments[1] if len(arguments) > 1 else None))
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
