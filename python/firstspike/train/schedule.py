"""The learning rate as a function of the step: it has no state, so a checkpoint need not store any."""

from __future__ import annotations

import math


def learning_rate(step: int, *, total: int, peak: float, schedule: str, warmup: float) -> float:
    """The learning rate of one optimizer step.

    Args:
        step: 0..total-1.
        total: steps in the whole run.
        peak: learning rate after the warmup.
        schedule: "cosine", peak (1 + cos(pi p)) / 2; "linear", peak (1 - p); "constant". p goes from 0 at the warmup's
            end to 1 at the run's end, so the last step's rate is just above zero.
        warmup: steps in which the rate rises linearly to the peak.
    """
    if step + 1 < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "linear":
        return peak * (1 - progress)
    if schedule == "constant":
        return peak
    raise ValueError(f"schedule must be cosine, linear or constant, got {schedule!r}")
