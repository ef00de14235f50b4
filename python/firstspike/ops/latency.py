"""`latency`: intensities in [0, 1] to spike times, the brightest first; the formulas stand in `firstspike.encode`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._cuda import Arguments, kernels, on_device, pointer
from ._operator import operator
from ._support import array, cpu, threads

CURVES = ("linear", "log")
DARKEST = 1 / 255  # the smallest grey level of an 8-bit image; the log curve reaches the last step here


def _forward(x: Tensor, steps: int, curve: int) -> Tensor:
    x = x.detach().contiguous()
    if CURVES[curve] == "linear":
        times = torch.empty(x.shape, dtype=torch.uint8)
        cpu.linear_latency(steps, array(x), threads(), array(times))
        return times
    delay = x.clamp(DARKEST, 1).log() / math.log(DARKEST)
    times = delay.mul_(steps - 1).round_().to(torch.uint8)
    silent = (x == 0).view(torch.uint8).neg_()  # 255 where x is 0; masked_fill takes four times as long for bytes
    return times.bitwise_or_(silent)


def _forward_cuda(x: Tensor, steps: int, curve: int) -> Tensor:
    x = x.contiguous()
    times, intensity = torch.empty_like(x, dtype=torch.uint8), Arguments(x.device).floats("x", x, x.numel())
    with on_device(x) as stream:
        kernels().latency(x.numel(), steps, curve, intensity, pointer(times), stream)
    return times


def _forward_fake(x: Tensor, steps: int, curve: int) -> Tensor:
    return torch.empty_like(x, dtype=torch.uint8, memory_format=torch.contiguous_format)


# Times of the shape of `x`; curve: an index of `CURVES`.
latency = operator("latency(Tensor x, int steps, int curve) -> Tensor")(cpu=_forward, cuda=_forward_cuda, fake=_forward_fake)
