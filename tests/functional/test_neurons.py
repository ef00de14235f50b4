"""`functional.fire`, the dense drop-in neuron, and `functional.ramp`, direct coding, against their float64 references."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import functional, reference
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import clear_neurons, close, noise
from ..samples import SILENT, generator, grid

STEPS = [1, 2, 8, 64, 254]
each_surrogate = pytest.mark.parametrize(
    "surrogate", [triangle(), triangle(0.25), triangle(2.0), rectangle(), atan(), sigmoid()], ids=lambda s: f"{s.kind}-{s.scale}"
)


def check(name: str, current: Tensor, exact: bool, *steps: int, **options: Any) -> Tensor:
    """The dense spikes of `fire`, or of `ramp` over `steps`, and the gradient of the current; returns the spikes."""
    expected_current, x = current.double().requires_grad_(), current.clone().requires_grad_()
    expected = getattr(reference, name)(expected_current, *steps, **options)
    got = getattr(functional, name)(x, *steps, **options)
    if steps:
        expected, got = expected.dense(), got.dense()
    every_step = expected_current.expand(*steps, *current.shape)
    assert got.dtype == torch.float32 and got.shape == every_step.shape
    clear = clear_neurons(every_step, options)
    assert exact or not clear.numel() or clear.double().mean() > 0.7
    clear = clear | exact
    assert torch.equal(got * clear, (expected * clear).float())
    assert bool(((got == 0) | (got == 1)).all()) and bool((got.sum(0) <= 1).all())
    grad = torch.randn(got.shape, generator=generator(1)) * clear
    expected.backward(grad.double())
    got.backward(grad)
    assert x.grad is not None and expected_current.grad is not None
    close(x.grad, expected_current.grad, "gradient of current", 1e-6 if exact else noise(options["surrogate"]))
    return got


@each_surrogate
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(3, 21), (2, 3, 4, 5)], ids=str)
def test_exact_currents(shape: tuple[int, ...], steps: int, surrogate: Any) -> None:
    check("fire", grid((steps, *shape), 1.0, generator(0)), True, surrogate=surrogate, threshold=1.5)
    check("ramp", grid(shape, 2 / steps if steps < 64 else 0.1, generator(0)), True, steps, surrogate=surrogate)


@each_surrogate
@pytest.mark.parametrize(
    ("decay", "synaptic_decay", "steps"),
    [(0.5, 0, 8), (0.9, 0, 8), (0.99, 0, 254), (1.5, 0, 8), (2.0, 0, 20), (0.9, 0.5, 64), (1, 1, 8), (1.25, 1, 6)],
)
def test_decay_of_the_dense_neuron(decay: float, synaptic_decay: float, steps: int, surrogate: Any) -> None:
    neuron = {"surrogate": surrogate, "decay": float(decay), "synaptic_decay": float(synaptic_decay)}
    check("fire", torch.randn(steps, 3, 21, generator=generator(0)) * 0.5, False, **neuron)


@each_surrogate
@pytest.mark.parametrize(
    ("decay", "synaptic_decay", "steps"),
    [(0.5, 0, 8), (0.9, 0, 8), (0.99, 0, 254), (1, 0, 254), (0.01, 0, 2), (1.5, 0, 8), (1, 1, 8), (1, 0.5, 33),
     (0.9, 0.9, 64)],
)  # fmt: skip
def test_decay_of_direct_coding(decay: float, synaptic_decay: float, steps: int, surrogate: Any) -> None:
    size = 2 * (1 - decay + 1 / steps) * (1 - synaptic_decay + 1 / steps)
    neuron = {"surrogate": surrogate, "decay": float(decay), "synaptic_decay": float(synaptic_decay)}
    check("ramp", torch.randn(6, 35, generator=generator(0)) * size, False, steps, threshold=0.75, **neuron)


@each_surrogate
def test_a_current_that_stays_on(surrogate: Any) -> None:
    check("fire", grid((64, 3, 21), 0.25, generator(0)), True, surrogate=surrogate, synaptic_decay=1.0)


@pytest.mark.parametrize("synaptic_decay", [0.5, 1.0])
def test_closed_form_with_a_synaptic_current(synaptic_decay: float) -> None:
    """With decay 1 the membrane is the sum of I (1 - a^(k+1)) / (1 - a) up to t, and (t + 1) (t + 2) / 2 I for a = 1."""
    a, k = synaptic_decay, torch.arange(8, dtype=torch.float64)
    gain = (k + 1 if a == 1 else (1 - a ** (k + 1)) / (1 - a)).cumsum(0)
    assert a < 1 or torch.equal(gain, (k + 1) * (k + 2) / 2)
    current = grid((1, 50), 0.2, generator(3)).abs()
    reached = gain[:, None] * current[0].double() >= 1
    times = torch.where(reached.any(0), reached.int().argmax(0), SILENT)
    assert len(times.unique()) > 4 and torch.equal(functional.ramp(current, 8, synaptic_decay=a).times[0].long(), times)


def test_never_and_non_finite_currents() -> None:
    """NaN compares false, so it never fires; infinity fires at once."""
    current = torch.tensor([[float("nan"), float("inf"), -float("inf"), 0.0]])
    assert functional.ramp(current, 4).times.tolist() == [[SILENT, 0, SILENT, SILENT]]
