"""Checks of a neuron's settings and of its spikes."""

from __future__ import annotations

from torch import Tensor

from . import _checks

MAX_DECAY, MAX_GROWTH = 2.0, 2.0**32  # of a potential from step to step, and over all steps


def decay(value: object, steps: int = 1) -> float:
    """Return the factor of a potential from step to step as a float in (0, MAX_DECAY].

    Above 1 it grows; ValueError where it would grow so much in `steps` that sums could leave float32.
    """
    number = _checks.positive("decay", value, MAX_DECAY)
    if number > 1 and number**steps > MAX_GROWTH:
        raise ValueError(
            f"decay must be at most {MAX_GROWTH ** (1 / steps):.4g} with {steps} steps, in which a potential would grow "
            f"{MAX_GROWTH:.3g}-fold with it, got {number:g}"
        )
    return number


def thresholds(value: Tensor, outputs: int) -> Tensor:
    """Return thresholds [outputs], float32 and > 0."""
    tensor = _checks.float32("threshold", value, 1)
    if tensor.shape[0] != outputs:
        raise ValueError(
            f"threshold must be a number or have shape [{outputs}], one per output, got shape {tuple(tensor.shape)}"
        )
    if _checks.has_values(tensor) and not bool(((tensor > 0) & tensor.isfinite()).all()):
        wrong = tensor.detach()[~((tensor > 0) & tensor.isfinite())]
        raise ValueError(
            f"threshold must be positive and finite for each output, got {float(wrong[0])}; where thresholds are learned, call "
            "nn.bound_thresholds(net) after each step of the optimizer"
        )
    return tensor


def check_single_spikes(x: Tensor, several: bool) -> None:
    """Raise ValueError for a dense train of other values than zeros and ones; unless `several`, of neurons that fire twice."""
    odd = (x != 0) & (x != 1)
    if bool(odd.any()):
        where = tuple(int(i) for i in odd.nonzero()[0])
        raise ValueError(f"x must hold zeros and ones, got {float(x[where])} at [step, batch, ...] = {where}")
    twice = x.sum(0) > 1
    if not several and bool(twice.any()):
        where = tuple(int(i) for i in twice.nonzero()[0])
        steps = [int(t) for t in x.movedim(0, -1)[where].nonzero().flatten()]
        raise ValueError(
            f"x must fire at most once per neuron, but neuron [batch, ...] = {where} fires at steps {steps}; "
            "keep='first' takes the first spike"
        )
