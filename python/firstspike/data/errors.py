"""The error that says where a data set was looked for and how to put it in place by hand."""

from __future__ import annotations

from collections.abc import Sequence


class NotAvailable(RuntimeError):
    """A data set is available from none of its sources.

    Attributes:
        name: the data set.
        tried: one line per place that was tried, with the outcome, in order.
        instructions: how to put the files in place by hand.

    Examples:
        >>> raise data.NotAvailable("mnist", ["no cache"], "Put the files into a folder and name it in FIRSTSPIKE_DATA.")
        Traceback (most recent call last):
            ...
        firstspike.data.errors.NotAvailable: the data set 'mnist' is not available here. Tried:
          - no cache
        Put the files into a folder and name it in FIRSTSPIKE_DATA.
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
