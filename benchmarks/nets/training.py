"""One training step, and one inference, the same for all sides."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..inputs import Batch

#: Behind a side's name: compiled by torch.
COMPILED = ", compiled"


def forms(side: str, make: Callable[[], nn.Module]) -> dict[str, nn.Module]:
    """A side's net as it is, and compiled by torch, by name."""
    return {side: make(), side + COMPILED: torch.compile(make(), dynamic=False)}  # type: ignore[dict-item]


def training_step(net: nn.Module, x: object, labels: Tensor) -> Callable[[], Tensor]:
    """Forward, cross-entropy, backward, and torch's fused Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    net.train()

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def inference(net: nn.Module, x: object, labels: Tensor | None = None) -> Callable[[], Tensor]:
    """Forward without gradients; labels are not used."""
    net.eval()

    def run() -> Tensor:
        with torch.inference_mode():
            scores: Tensor = net(x)
            return scores

    return run


def without_gradient(call: Callable[[], object]) -> Callable[[], object]:
    """A call under `torch.no_grad`."""

    def run() -> object:
        with torch.no_grad():
            return call()

    return run


def feed(library: str, batch: Batch) -> object:
    """What a library's net takes: the bytes, or the dense train (made before the clock starts)."""
    return batch.spikes if library == "firstspike" else batch.dense
