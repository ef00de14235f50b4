"""Dense trains to spike times and back."""

from __future__ import annotations

import torch
from torch import Tensor


def from_dense(x: Tensor) -> tuple[Tensor, Tensor]:
    fired = x != 0
    times = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), 255).to(torch.uint8)
    return x - x.detach(), times


def dense(times: Tensor, edge: Tensor | None, steps: int) -> Tensor:
    clock = torch.arange(steps, device=times.device, dtype=torch.uint8).view(-1, *[1] * times.dim())
    x = (times == clock).float()
    return x if edge is None else x + edge
