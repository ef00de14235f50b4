"""The calls of a net's modules: the one place where this package watches modules by hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias

from torch import Tensor, nn

from ..nn import PooledSpikes, Prepacked
from ..spikes import SpikeTimes

_INPUTS = ("spikes", "x", "input")  # names of the input in layers of ours and of torch


class Call(NamedTuple):
    """A call of a module: its name in the net, its input (after max pooling a dense train [T, B, ...]), its output without a
    membrane beside spikes, and the shortcut into a layer with its scale.
    """

    name: str
    module: nn.Module
    received: Any
    output: Any
    shortcut: SpikeTimes | None
    shortcut_scale: float | Tensor


See: TypeAlias = Callable[[Call], None]


class Calls:
    """Within a `with` block, gives `see` each call of some modules of a net, and calls `begin` when a pass begins.

    inside: True while the net as a whole is running. Raises TypeError for a net of `models.prepare_for_inference`.
    """

    def __init__(
        self, net: nn.Module, modules: Mapping[str, nn.Module], see: See, begin: Callable[[], None] = lambda: None
    ) -> None:
        if any(isinstance(module, Prepacked) for module in net.modules()):
            raise TypeError("the net must be the one that models.prepare_for_inference was given, got its result")
        self.inside = False
        self._net, self._modules, self._see, self._begin = net, modules, see, begin
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        self.inside = False
        self._hooks.append(self._net.register_forward_pre_hook(self._enter))
        self._hooks.append(self._net.register_forward_hook(self._leave, always_call=True))
        for name, module in self._modules.items():
            self._hooks.append(module.register_forward_hook(self._hook(name), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _enter(self, *_: object) -> None:
        self.inside = True
        self._begin()

    def _leave(self, *_: object) -> None:
        self.inside = False

    def _hook(self, name: str) -> Callable[..., None]:
        # A function of this module, by which `plain_copy` knows it.
        return lambda *call: self._see(_call(name, *call))


def _call(name: str, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: Any) -> Call:
    """A call by what a hook gets; input and shortcut may be given by place or by name."""
    by_name = [named[key] for key in _INPUTS if key in named] or list(named.values())
    received = next(iter((*arguments[:1], *by_name)), None)
    received = received.dense() if isinstance(received, PooledSpikes) else received
    shortcut = named.get("shortcut", arguments[1] if len(arguments) > 1 else None)
    shortcut = shortcut if isinstance(shortcut, SpikeTimes) else None
    output = output[0] if isinstance(output, tuple) else output
    return Call(name, module, received, output, shortcut, named.get("shortcut_scale", 1.0))
