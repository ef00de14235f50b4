"""Samples of layers: spike times with silent, early, late and tied neurons, and weights for each regime; tests of refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

SILENT = 255
PATTERNS = ("mixed", "silent", "early", "late", "tied", "spread")
REGIMES = ("balanced", "firing", "quiet")


Refusal = tuple[Callable[[], Any], type[Exception], str]  # a call, its error, and what the message says


def refusals(*rows: Refusal, **named: Refusal) -> Callable[..., None]:
    """A test that these calls are refused."""
    ids = [None] * len(rows) + [*named]

    @pytest.mark.parametrize(("call", "error", "text"), [*rows, *named.values()], ids=ids)
    def test(call: Callable[[], Any], error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            call()

    return test


def generator(seed: int) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


def spike_times(shape: tuple[int, ...], steps: int, pattern: str, g: torch.Generator) -> Tensor:
    """Times uint8 of a pattern: `mixed` has a third silent, `tied` two distinct times, `spread` none silent."""
    if pattern == "silent":
        return torch.full(shape, SILENT, dtype=torch.uint8)
    if pattern == "early":
        return torch.zeros(shape, dtype=torch.uint8)
    if pattern == "late":
        return torch.full(shape, steps - 1, dtype=torch.uint8)
    if pattern == "tied":
        return torch.where(torch.rand(shape, generator=g, dtype=torch.float32) < 0.5, steps // 3, steps // 2).to(torch.uint8)
    times = torch.randint(0, steps, shape, generator=g).to(torch.uint8)
    if pattern == "spread":
        return times
    assert pattern == "mixed", pattern
    return times.masked_fill(torch.rand(shape, generator=g, dtype=torch.float32) < 1 / 3, SILENT)


def grid(shape: tuple[int, ...], scale: float, g: torch.Generator) -> Tensor:
    """Floats on the grid of 1/64, about `scale` large: sums of them are exact in float32 whatever their order."""
    return torch.round(torch.randn(shape, generator=g, dtype=torch.float32) * scale * 64) / 64


@dataclass(frozen=True)
class Layer:
    """Arguments of one call of a layer. With `exact`, float32 makes no rounding error at all in the membrane."""

    times: Tensor
    steps: int
    weight: Tensor
    bias: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = True

    def but(self, **options: Any) -> Layer:
        """The same layer with further options."""
        return replace(self, options={**self.options, **options})


def decays(steps: int) -> list[float]:
    """Decays to draw from, rounded to float32 as the kernels have them: over 254 steps what is rounded away would show.

    One grows, sixfold at most: rounding grows with the potential.
    """
    growing = min(1.25, 6 ** (1 / steps))
    return torch.tensor([1.0, 1.0, 0.95, 0.5, growing], dtype=torch.float32).tolist()


def layer(
    inputs: tuple[int, ...],
    weight: tuple[int, ...],
    steps: int,
    *,
    pattern: str = "mixed",
    regime: str = "balanced",
    exact: bool = True,
    bias: bool = True,
    seed: int = 0,
    **options: Any,
) -> Layer:
    """A layer of input shape [B, ...] and weight shape [O, ...] in which about half the neurons fire.

    `regime`: "firing" adds a bias that fires every neuron, "quiet" one that silences all.
    """
    g = generator(seed)
    fan_in = torch.Size(weight[1:]).numel() / options.get("avg_pool", 1) ** 2
    times = spike_times(inputs, steps, pattern, g)
    scale = 2 / max(1.0, fan_in) ** 0.5
    w = grid(weight, max(scale, 0.1), g) if exact else torch.randn(weight, generator=g, dtype=torch.float32) * scale
    shift = {"balanced": 0.0, "firing": 8.0, "quiet": -8.0}[regime]
    spread = 0.5 / steps
    if not (bias or shift):
        b = None
    elif exact:
        b = torch.round(torch.randn(weight[:1], generator=g, dtype=torch.float32) * spread * 1024) / 1024 + shift
    else:
        b = torch.randn(weight[:1], generator=g, dtype=torch.float32) * spread + shift
    return Layer(times, steps, w, b, options, exact)


class Rescaled(torch.nn.Module):
    """Two layers over different steps: the times of the first are rescaled for the last, those of the last for the readout."""

    def __init__(self, first: torch.nn.Module, last: torch.nn.Module, readout: torch.nn.Module, end: int | None = None) -> None:
        super().__init__()
        self.first, self.last, self.readout, self.end = first, last, readout, end

    def forward(self, x: Tensor) -> Any:
        """Scores of the readout; end: steps of what it gets, by default those of the last layer."""
        made = self.last(self.first(x).rescale(self.last.steps))
        return self.readout(made if self.end is None else made.rescale(self.end))
