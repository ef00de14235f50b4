"""Full backward hooks of modules that take or give `SpikeTimes`, whose gradients are at their anchors."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn

from torch import Tensor, nn
from torch.utils.hooks import BackwardHook, RemovableHandle

from ..spikes import SpikeTimes
from .pooled_spikes import PooledSpikes


class BackwardHooks(nn.Module):
    """A module whose full backward hooks see the gradients of spikes, as torch's own see those of tensors."""

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """As `torch.nn.Module.register_full_backward_hook`: hook(module, gradients of the inputs, gradients of the outputs).

        The gradient of spikes is that of their anchor: one element per entry of the support, or [T, B, ...] for dense trains
        and dense surrogates. An input without a gradient has None.
        """
        return self._around(_Around([hook], []), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """As `torch.nn.Module.register_full_backward_pre_hook`: hook(module, gradients of the outputs); gradients as above."""
        return self._around(_Around([], [hook]), prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> NoReturn:
        """Refused: torch's old hook, which takes what a module returns for tensors."""
        raise RuntimeError("spikes are no tensors: use register_full_backward_hook")

    def _around(self, calls: _Around, prepend: bool) -> RemovableHandle:
        handle = self.register_forward_hook(calls.behind, prepend=prepend, with_kwargs=True, always_call=True)
        before = self.register_forward_pre_hook(calls.before, prepend=prepend, with_kwargs=True)
        return _Both(handle, before)


class _Both(RemovableHandle):
    """Two hooks that come and go together."""

    def __init__(self, one: RemovableHandle, other: RemovableHandle) -> None:
        self._handles, self.id = (one, other), one.id

    def __getstate__(self) -> tuple[Any, ...]:
        return self._handles, self.id

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._handles, self.id = state

    def remove(self) -> None:
        """Remove both."""
        for handle in self._handles:
            handle.remove()


class _Around:
    """Puts a node of autograd before and behind each call of a module."""

    def __init__(self, hooks: list[Callable[..., Any]], before: list[Callable[..., Any]]) -> None:
        self.hooks, self.hooks_before = hooks, before
        self.calls: dict[int, list[BackwardHook]] = {}  # by thread: those that are under way

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Forward pre-hook."""
        call = BackwardHook(module, self.hooks, self.hooks_before)
        self.calls.setdefault(get_ident(), []).append(call)
        return _through(call.setup_input_hook, args), kwargs

    def behind(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook."""
        under_way = self.calls.get(get_ident())
        if not under_way:  # a hook before this one failed
            return None
        call = under_way.pop()
        if not under_way:
            del self.calls[get_ident()]
        if output is None:  # the call failed
            return None
        outputs = output if isinstance(output, tuple) else (output,)
        through = _through(call.setup_output_hook, outputs)
        return through if isinstance(output, tuple) else through[0]


def _through(setup: Callable[..., Any], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values whose anchors, or they themselves where they are tensors, go through a node of autograd."""
    carriers = tuple(_carrier(value) for value in values)
    if not any(isinstance(carrier, Tensor) for carrier in carriers):
        setup(carriers)  # it counts the arguments
        return values
    made = setup(carriers)
    return tuple(_carried_by(carrier, value) for value, carrier in zip(values, made, strict=True))


def _carrier(value: Any) -> Any:
    """What the gradient of a value is at."""
    if isinstance(value, PooledSpikes):
        value = value.distinct
    return value._anchor if isinstance(value, SpikeTimes) else value


def _carried_by(carrier: Any, value: Any) -> Any:
    """The value with another carrier."""
    if isinstance(value, PooledSpikes):
        return value._with(_carried_by(carrier, value.distinct))
    if not isinstance(value, SpikeTimes):
        return carrier
    return value if carrier is None else SpikeTimes._trusted(value.times, value.steps, carrier, value._support)
