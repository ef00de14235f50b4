"""The error that says where a data set was looked for and how to bring it by hand."""

from __future__ import annotations

from collections.abc import Sequence


class NotAvailable(RuntimeError):
    """A data set could not be had from any of its sources.

    Attributes:
        name: the data set.
        tried: one line for each place that was tried and what came of it, in order.
        instructions: how to put the files in place by hand.
    """

    def __init__(self, name: str, tried: Sequence[str], instructions: str) -> None:
        self.name = name
        self.tried = tuple(tried)
        self.instructions = instructions
        super().__init__(name, self.tried, instructions)

    def __str__(self) -> str:
        lines = [f"the data set '{self.name}' is not available here. Tried:"]
        lines += [f"  - {line}" for line in self.tried] or ["  - nothing"]
        return "\n".join([*lines, self.instructions])
