"""`functional.fire`, the dense drop-in neuron, against the float64 reference."""

import pytest
import torch

from firstspike import functional, reference
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import clear_neurons, close, noise
from ..samples import generator, grid

STEPS = [1, 2, 8, 64, 254]
SURROGATES = [triangle(), triangle(0.25), rectangle(), atan(), sigmoid()]


def check(current: torch.Tensor, exact: bool, **options: object) -> torch.Tensor:
    """Spikes and the gradient of the current."""
    expected_current = current.double().requires_grad_()
    expected = reference.fire(expected_current, **options)
    clear = clear_neurons(expected_current, options)
    assert exact or clear.double().mean() > 0.7
    clear = clear | exact
    grad = torch.randn(current.shape, generator=generator(1)) * clear
    expected.backward(grad.double())
    x = current.clone().requires_grad_()
    got = functional.fire(x, **options)
    assert got.dtype == torch.float32 and got.shape == current.shape
    assert torch.equal(got * clear, (expected * clear).float())
    assert bool(((got == 0) | (got == 1)).all()) and bool((got.sum(0) <= 1).all())
    got.backward(grad)
    close(x.grad, expected_current.grad, "gradient of current", 1e-6 if exact else noise(options["surrogate"]))
    return got


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(3, 21), (2, 3, 4, 5)], ids=str)
def test_exact_currents(shape: tuple[int, ...], steps: int, surrogate: object) -> None:
    check(grid((steps, *shape), 1.0, generator(0)), True, surrogate=surrogate, threshold=1.5)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize(
    ("decay", "synaptic_decay", "steps"),
    [
        (0.5, 0, 8),
        (0.9, 0, 8),
        (0.99, 0, 254),
        (1.5, 0, 8),
        (2.0, 0, 20),
        (0.9, 0.5, 64),
        (1.0, 1.0, 8),
        (1.25, 1.0, 6),
    ],
)
def test_decay(decay: float, synaptic_decay: float, steps: int, surrogate: object) -> None:
    neuron = {"surrogate": surrogate, "decay": decay, "synaptic_decay": synaptic_decay}
    check(torch.randn(steps, 3, 21, generator=generator(0)) * 0.5, False, **neuron)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
def test_a_ramp(surrogate: object) -> None:
    check(grid((64, 3, 21), 0.25, generator(0)), True, surrogate=surrogate, synaptic_decay=1.0)


@pytest.mark.parametrize("level", [8.0, -8.0])
def test_all_fire_or_none(level: float) -> None:
    got = check(torch.full((6, 2, 9), level), True)
    assert float(got.detach().sum()) == (18 if level > 0 else 0)


def test_spikes_once_though_the_membrane_passes_twice() -> None:
    current = torch.tensor([0.5, 0.5, -1.0, 2.0, 5.0]).reshape(5, 1, 1)
    assert functional.fire(current).flatten().tolist() == [0, 1, 0, 0, 0]
