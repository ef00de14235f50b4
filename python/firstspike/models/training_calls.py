"""Which layers of a net run as one call in training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingCalls:
    """How a training step on the CPU runs the layers of a net; `print` it.

    Attributes:
        together: the names of the layers of each chain that runs as one call.
        apart: the other layers, by name, and why each of them is a call of its own.
    """

    together: tuple[tuple[str, ...], ...]
    apart: dict[str, str]

    def __str__(self) -> str:
        lines = [f"one call: {', '.join(names)}" for names in self.together]
        return "\n".join(lines + [f"{name}: {reason}" for name, reason in self.apart.items()])
