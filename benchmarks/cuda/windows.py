"""Nets of windows on a device: agreement with the kernels of the CPU, and times of training steps.

Run as `python -m benchmarks.cuda.windows DEVICE`, any device of torch; prints a JSON line per net. These nets run in plain torch
there, so that no CUDA module is needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets import COMPILED, forms, training_step
from ..nets.windows import channels_last, images_of, net_of, relu_of
from ..timing import Effort, alternate, summarize
from ..workloads import CNN, MLP, Workload

BATCH = 512
STEPS = 16
EFFORT = Effort(rounds=5, seconds=10.0, most=50)


def agreement(workload: Workload, device: str, batch: int = BATCH) -> dict[str, float]:
    """Compare a training pass in float32 with the CPU's.

    Gives the share of equal spike times in the layer where they differ most, and the distances of scores and of the gradient
    of all parameters, relative to their norms on the CPU.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    passes = []
    for place in ("cpu", device):
        images, labels = (x.to(place) for x in images_of(batch, workload))
        net: Any = net_of(workload, STEPS).to(place)
        seen = net.observe(images)
        F.cross_entropy(seen.scores, labels).backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
        passes.append(([layer.times.cpu() for layer in seen.layers], seen.scores.detach().cpu(), gradient.cpu()))
    (times, scores, gradient), (device_times, device_scores, device_gradient) = passes
    return {
        "equal times": min(float((a == b).double().mean()) for a, b in zip(times, device_times, strict=True)),
        "scores": float((device_scores - scores).norm() / scores.norm()),
        "gradient": float((device_gradient - gradient).norm() / gradient.norm()),
    }


def milliseconds(workload: Workload, device: str, batch: int = BATCH) -> dict[str, float]:
    """Time a training step in milliseconds, also of the ReLU counterpart: eager, compiled, and compiled in bfloat16; no TF32."""
    images, labels = (x.to(device) for x in images_of(batch, workload))
    floats = channels_last(images.float() / 255)
    calls: dict[str, Callable[[], object]] = {}
    for side, make, x in (("windowed", partial(net_of, workload, STEPS), images), ("relu", partial(relu_of, workload), floats)):
        nets = forms(side, lambda make=make: make().to(device))  # type: ignore[misc]
        steps = {name: training_step(net, x, labels) for name, net in nets.items()}
        calls |= {name: partial(_finished, step) for name, step in steps.items()}
        calls[f"{side}{COMPILED}, bfloat16"] = partial(_in_bfloat16, steps[side + COMPILED], device)
    return {name: 1e3 * summarize(samples).median for name, samples in alternate(calls, EFFORT).items()}


def _finished(step: Callable[[], Tensor]) -> float:
    """The loss after a step, for which the host waits."""
    return step().item()


def _in_bfloat16(step: Callable[[], Tensor], device: str) -> float:
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        return _finished(step)


if __name__ == "__main__":
    for workload in (MLP, CNN):
        row = {"net": workload.name, "steps": STEPS, "batch": BATCH}
        row |= {"agreement": agreement(workload, sys.argv[1]), "milliseconds": milliseconds(workload, sys.argv[1])}
        print(json.dumps(row), flush=True)
