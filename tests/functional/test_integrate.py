"""`functional.integrate`, the readout membrane, against the float64 reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional, reference

from ..compare import close
from ..samples import PATTERNS, Layer, generator, layer

STEPS = [1, 2, 8, 64, 254]


def check(case: Layer) -> None:
    """Membrane and the gradients of weight, bias and input train."""
    train = reference.SpikeTrain.from_times(case.times, case.steps).dense().requires_grad_()
    weight = case.weight.double().requires_grad_()
    bias = None if case.bias is None else case.bias.double().requires_grad_()
    expected = reference.integrate(reference.SpikeTrain(train), weight, bias, **case.options)
    grad = torch.randn(expected.shape, generator=generator(1))
    expected.backward(grad.double())
    x, w = train.detach().float().requires_grad_(), case.weight.clone().requires_grad_()
    b = None if case.bias is None else case.bias.clone().requires_grad_()
    got = functional.integrate(SpikeTimes.from_dense(x), w, b, **case.options)
    close(got, expected.detach(), "membrane")
    if case.exact:
        assert torch.equal(got, expected.detach().float())
    got.backward(grad)
    close(w.grad, weight.grad, "gradient of weight")
    close(x.grad, train.grad, "gradient of the input spikes")
    if bias is not None:
        close(b.grad, bias.grad, "gradient of bias")


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", STEPS)
def test_steps_and_patterns(steps: int, pattern: str) -> None:
    check(layer((3, 13), (10, 13), steps, pattern=pattern))
    check(layer((3, 13), (10, 13), steps, pattern=pattern, bias=False))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 17), (1, 130, 70), (9, 8, 129)], ids=str)
def test_shapes(shape: tuple[int, int, int]) -> None:
    batch, inputs, outputs = shape
    check(layer((batch, inputs), (outputs, inputs), 8))


@pytest.mark.parametrize(
    ("inputs", "pool"), [((2, 3, 4, 6), 2), ((3, 5, 3, 3), 3), ((2, 3, 5, 7), 1), ((2, 4, 5, 7), 2)]
)
def test_map_is_pooled_and_flattened(inputs: tuple[int, ...], pool: int) -> None:
    features = inputs[1] * (inputs[2] // pool) * (inputs[3] // pool)
    check(layer(inputs, (10, features), 8, exact=pool != 3, avg_pool=pool))


@settings(max_examples=40)
@given(
    batch=st.integers(1, 5),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    steps=st.sampled_from(STEPS),
    pattern=st.sampled_from(PATTERNS),
    decay=st.sampled_from([1.0, 0.95, 0.5]),
    seed=st.integers(0, 2**20),
)
def test_random_layers(
    batch: int, inputs: int, outputs: int, steps: int, pattern: str, decay: float, seed: int
) -> None:
    check(layer((batch, inputs), (outputs, inputs), steps, pattern=pattern, exact=False, seed=seed, decay=decay))
