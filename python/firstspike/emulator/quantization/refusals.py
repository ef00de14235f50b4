"""The refusal of a net that a profile cannot represent; all refusals of a net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..program.program import Refusal


class CannotQuantize(Refusal):
    """A net that a profile cannot represent. layer: its name, or "net". problem, remedy: the parts of the message.

    Examples
    --------
    >>> net = models.build("64-32-10", input_shape=(64,), steps=8, decay=0.5)
    >>> emulator.quantize(net, "odin-like")
    Traceback (most recent call last):
        ...
    firstspike.emulator.quantization.refusals.CannotQuantize: ...
    """

    def __init__(self, problem: str, remedy: str = "", **setting: Any) -> None:
        super().__init__("net", problem, remedy, **setting)


class Refusals(list[CannotQuantize]):
    """The refusals of a net, in the order in which they are found."""

    @contextmanager
    def of(self, layer: str) -> Iterator[None]:
        """Collect a refusal that is raised within, and give the name of a layer to all that are found within."""
        before = len(self)
        try:
            yield
        except CannotQuantize as refusal:
            self.append(refusal)
        for named in self[before:]:
            named.layer = layer

    def settle(self) -> None:
        """Raise the first refusal, if there is one."""
        if self:
            raise self[0]
