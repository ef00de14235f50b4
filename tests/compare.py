"""Comparison of a fused function with its float64 reference: times exactly, gradients to 1e-4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from firstspike import SpikeTimes, functional, reference
from firstspike.surrogate import Surrogate, triangle

from .samples import Layer, generator

CLEAR = 1e-4
CURRENTS: dict[str, Callable[..., Tensor]] = {
    "linear": reference.linear_current,
    "conv2d": reference.conv2d_current,
    "integrate": reference.linear_current,
}


class Operators(TorchDispatchMode):
    """Keeps the names of the operators that are called, such as "aten::add" and "firstspike::fire"."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(op._schema.name)
        return op(*args, **(kwargs or {}))


def levels(surrogate: Surrogate) -> tuple[float, ...]:
    """Distances of V from the threshold at which rounding changes the result: the spike, a rectangle's edges."""
    return (0.0, -surrogate.half_width, surrogate.half_width) if surrogate.kind == "rectangle" else (0.0,)


def noise(surrogate: Surrogate) -> float:
    """What rounding of a membrane does to a gradient: a surrogate itself changes by up to 1/width^2."""
    return 2e-5 / min(1.0, surrogate.scale) ** 2 if surrogate.sparse else 2e-5


def close(got: Tensor | None, expected: Tensor | None, what: str, noise: float = 1e-6) -> None:
    """Equal to 1e-4 of each element, or to 1e-5 of the largest (where terms cancel) and `noise`."""
    assert got is not None and expected is not None, what
    assert got.dtype == torch.float32 and got.shape == expected.shape, what
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5 * largest + noise, msg=lambda m: f"{what}: {m}")


def clear_neurons(current: Tensor, options: dict) -> Tensor:
    """Neurons [B, ...] whose times and surrogate values cannot depend on rounding."""
    neuron = {name: options[name] for name in ("threshold", "decay", "synaptic_decay") if name in options}
    at = levels(options.get("surrogate", triangle()))
    return reference.margin(current, levels=at, **neuron) > CLEAR


def check_layer(name: str, case: Layer, seed: int = 1, enough: float = 0.7) -> SpikeTimes:
    """Compare `functional.<name>` with `reference.<name>`: times, and the gradients of weight, bias and input train.

    Where rounding matters only the clear neurons are compared, which must be `enough` of them.
    """
    train = reference.SpikeTrain.from_times(case.times, case.steps).dense().requires_grad_()
    weight = case.weight.double().requires_grad_()
    bias = None if case.bias is None else case.bias.double().requires_grad_()
    expected = getattr(reference, name)(reference.SpikeTrain(train), weight, bias, **case.options)
    shaping = {k: v for k, v in case.options.items() if k in ("stride", "padding", "avg_pool")}
    with torch.no_grad():
        clear = clear_neurons(CURRENTS[name](reference.SpikeTrain(train), weight, bias, **shaping), case.options)
    grad = torch.randn(expected.dense().shape, generator=generator(seed))
    if case.exact:
        clear = torch.ones_like(clear)
    assert not clear.numel() or clear.double().mean() >= enough, "the sample leaves too little to compare"
    grad = grad * clear
    expected.dense().backward(grad.double())

    x = train.detach().float().requires_grad_()
    w = case.weight.clone().requires_grad_()
    b = None if case.bias is None else case.bias.clone().requires_grad_()
    got = getattr(functional, name)(SpikeTimes.from_dense(x), w, b, **case.options)
    assert got.times.dtype == torch.uint8 and got.steps == case.steps
    wrong = (got.times != expected.times) & clear
    assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} times differ, first at {wrong.nonzero()[0].tolist()}"
    with torch.no_grad():  # without a gradient to record, kernels may leave early
        inferred = getattr(functional, name)(SpikeTimes(case.times, case.steps), w, b, **case.options)
    assert torch.equal(inferred.times, got.times)
    got.dense().backward(grad)
    # Membranes of an exact case are free of rounding, but not the products and sums of gradients.
    of_membrane = noise(case.options.get("surrogate", triangle())) * case.options.get("avg_pool", 1)
    rounding = 5e-6 if case.exact else of_membrane
    close(w.grad, weight.grad, "gradient of weight", rounding)
    close(x.grad, train.grad, "gradient of the input spikes", rounding)
    if bias is not None:
        close(b.grad, bias.grad, "gradient of bias", rounding)
    return got


def same_on_threads(call: Callable[[], Sequence[Tensor]], numbers: Sequence[int] = (1, 2, 3)) -> Sequence[Tensor]:
    """Check that the tensors that a call gives have the same bits on each number of threads; returns them."""
    found, before = [], torch.get_num_threads()
    try:
        for number in numbers:
            torch.set_num_threads(number)
            found.append(call())
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    return found[0]
