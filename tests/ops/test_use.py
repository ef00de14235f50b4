"""Autocast, memory layout, empty batch, double use: the habits of torch that the ops have to live with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.surrogate import atan, triangle

from ..compare import close
from ..samples import generator, layer
from .nets import Cnn, Mlp, Neurons, inputs, learn

NETS = pytest.mark.parametrize("make", [Mlp, Cnn, Neurons])
LAYERS = {
    "linear": layer((3, 24), (18, 24), 8),
    "pooled": layer((3, 5, 4, 6), (18, 30), 8, avg_pool=2),
    "conv2d": layer((3, 5, 4, 6), (18, 5, 3, 3), 8, padding=1),
}


def call(name: str, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, **more: object) -> SpikeTimes:
    """The layer's function."""
    function = functional.conv2d if name == "conv2d" else functional.linear
    return function(spikes, weight, bias, **LAYERS[name].options, **more)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_takes_low_precision_operands(low: torch.dtype) -> None:
    """Weights, biases and currents of a half type are raised to float32; gradients come back in their type."""
    case = LAYERS["linear"]
    w, b = case.weight.to(low).requires_grad_(), case.bias.to(low).requires_grad_()
    spikes = SpikeTimes(case.times, case.steps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = functional.linear(spikes, w, b)
        current = functional.integrate(spikes, w, b)
        again = functional.fire(current.to(low))
    assert out.dense().dtype == current.dtype == again.dtype == torch.float32
    (out.dense().sum() + again.sum()).backward()
    assert w.grad.dtype == b.grad.dtype == low and float(w.grad.abs().max()) > 0
    exact = functional.linear(spikes, w.detach().float(), b.detach().float())
    assert torch.equal(out.times, exact.times)


def spread(x: Tensor) -> Tensor:
    """The same values with gaps between them and the dimensions in reverse order."""
    wide = torch.full([2 * n for n in reversed(x.shape)], 77, dtype=x.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)].permute(*reversed(range(x.dim())))
    view.copy_(x)
    assert not view.is_contiguous()
    return view


@pytest.mark.parametrize("surrogate", [triangle(), atan()], ids=lambda s: s.kind)
@pytest.mark.parametrize("name", LAYERS)
def test_any_memory_layout(name: str, surrogate: object) -> None:
    """Times, weight, bias and the incoming gradient with arbitrary strides: the same bits."""
    case = LAYERS[name]
    results = []
    for layout in (torch.clone, spread):
        x = SpikeTimes(case.times, case.steps).dense().requires_grad_()
        w, b = layout(case.weight).requires_grad_(), layout(case.bias).requires_grad_()
        from_train = call(name, SpikeTimes.from_dense(layout(x.detach()) + 0 * x), w, b, surrogate=surrogate)
        from_times = call(name, SpikeTimes(layout(case.times), case.steps), w, b, surrogate=surrogate)
        assert torch.equal(from_train.times, from_times.times)
        grad = torch.randn(from_train.dense().shape, generator=generator(1))
        from_train.dense().backward(layout(grad))
        results.append([from_train.times, w.grad, b.grad, x.grad])
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


@NETS
def test_empty_batch(make: type[torch.nn.Module]) -> None:
    """No samples: empty scores, and gradients of zero."""
    net = make()
    out, *gradients = learn(net, net, inputs(net, 0))
    assert 0 in out.shape
    for p, grad in zip(net.parameters(), gradients, strict=True):
        assert grad.shape == p.shape and not grad.any()


@pytest.mark.parametrize("surrogate", [triangle(), atan()], ids=lambda s: s.kind)
def test_one_spike_times_used_twice(surrogate: object) -> None:
    """The gradients of two consumers are the sum of their separate gradients."""
    case = LAYERS["linear"]
    g = generator(3)
    second = [torch.randn(7, 18, generator=g) * 0.5, torch.randn(9, 18, generator=g) * 0.5]
    grads = [torch.randn(8, 3, 7, generator=g), torch.randn(8, 3, 9, generator=g), torch.randn(8, 3, 18, generator=g)]

    def gradient(*uses: int) -> Tensor:
        w = case.weight.clone().requires_grad_()
        hidden = functional.linear(SpikeTimes(case.times, 8), w, case.bias, surrogate=surrogate)
        loss = w.new_zeros(())
        for use in uses:
            out = hidden if use == 2 else functional.linear(hidden, second[use], surrogate=surrogate)
            loss = loss + (out.dense() * grads[use]).sum()
        loss.backward()
        return w.grad

    close(gradient(0, 1, 2), (gradient(0) + gradient(1) + gradient(2)).double(), "sum of gradients")
    close(gradient(0, 0), (2 * gradient(0)).double(), "twice the same")


@pytest.mark.parametrize("frozen", ["w1", "b1", "w2", "w3"])
def test_frozen_parameters_get_no_gradient_and_change_no_other(frozen: str) -> None:
    net, counterpart = Mlp(), Mlp()
    x = inputs(net, 3)
    learn(counterpart, counterpart, x)
    getattr(net, frozen).requires_grad_(False)
    net(x).backward(torch.linspace(-1, 1, 15).reshape(3, 5))
    for name, p in net.named_parameters():
        if name == frozen:
            assert p.grad is None
        else:
            assert torch.equal(p.grad, counterpart.get_parameter(name).grad)


@NETS
@pytest.mark.parametrize("loss", [Tensor.sum, lambda scores: scores.square().sum()], ids=["sum", "squares"])
def test_a_second_derivative_is_refused_on_the_way_to_any_parameter(make: type[torch.nn.Module], loss: Any) -> None:
    """Whether or not the loss has one itself; `torch.autograd.grad` goes only where it is asked to."""
    net = make()
    parameters = list(net.parameters())
    out = loss(net(inputs(net, 3)))
    gradients = torch.autograd.grad(out, parameters, create_graph=True)
    penalty = gradients[0].square().sum()
    for parameter in parameters:
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(penalty, parameter, retain_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out + penalty, parameters)
