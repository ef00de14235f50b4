"""`functional.ramp` (direct coding) against the float64 reference and its closed form."""

import pytest
import torch

from firstspike import functional, reference
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import clear_neurons, close, noise
from ..samples import SILENT, generator, grid

STEPS = [1, 2, 8, 64, 254]
SURROGATES = [triangle(), triangle(0.25), triangle(2.0), rectangle(), atan(), sigmoid()]


def check(current: torch.Tensor, steps: int, exact: bool, **options: object) -> None:
    """Times and the gradient of the current."""
    expected_current = current.double().requires_grad_()
    expected = reference.ramp(expected_current, steps, **options)
    clear = clear_neurons(expected_current.expand(steps, *current.shape), options)
    assert exact or clear.double().mean() > 0.7
    clear = clear | exact
    grad = torch.randn(steps, *current.shape, generator=generator(1)) * clear
    expected.dense().backward(grad.double())
    x = current.clone().requires_grad_()
    got = functional.ramp(x, steps, **options)
    assert got.steps == steps
    assert not ((got.times != expected.times) & clear).any()
    got.dense().backward(grad)
    close(x.grad, expected_current.grad, "gradient of current", 1e-6 if exact else noise(options["surrogate"]))


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(5, 37), (2, 3, 4, 7)], ids=str)
def test_exact_currents(shape: tuple[int, ...], steps: int, surrogate: object) -> None:
    current = grid(shape, 2 / steps, generator(0)) if steps < 64 else grid(shape, 0.1, generator(0))
    check(current, steps, True, surrogate=surrogate, threshold=1.0)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize(
    ("decay", "synaptic_decay", "steps"),
    [
        (0.5, 0, 8),
        (0.9, 0, 8),
        (0.99, 0, 254),
        (1, 0, 254),
        (0.01, 0, 2),
        (1.5, 0, 8),
        (1, 1, 8),
        (1, 0.5, 33),
        (0.9, 0.9, 64),
    ],
)
def test_decay(decay: float, synaptic_decay: float, steps: int, surrogate: object) -> None:
    current = (
        torch.randn(6, 35, generator=generator(0)) * 2 * (1 - decay + 1 / steps) * (1 - synaptic_decay + 1 / steps)
    )
    neuron = {"surrogate": surrogate, "decay": float(decay), "synaptic_decay": float(synaptic_decay)}
    check(current, steps, False, threshold=0.75, **neuron)


def test_closed_form() -> None:
    """With decay 1 the membrane is (t + 1) I, so the time is ceil(threshold / I) - 1."""
    current = torch.tensor([[1.0, 2.0, 0.5, 0.375, 0.125, 0.0625, 0.0, -1.0]])
    assert functional.ramp(current, 8).times.tolist() == [[0, 0, 1, 2, 7, SILENT, SILENT, SILENT]]


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
