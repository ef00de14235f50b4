"""Autocast, memory layout, empty batch, double use, copies: the habits of torch that the ops have to live with."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

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


@NETS
def test_autocast_computes_in_float32(make: type[torch.nn.Module]) -> None:
    """Torch's own operators hand over bfloat16 there; what is ours stays float32, forward and backward."""
    net = make()
    x = inputs(net, 3)
    expected = learn(net, net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = learn(net, net, x)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        if not isinstance(net, Cnn):  # its first convolution is torch's and rounds
            assert torch.equal(a, b)


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


def test_any_memory_layout_of_a_current() -> None:
    current = torch.randn(6, 2, 3, 4, 5, generator=generator(0))
    for function in (functional.fire, lambda x, **o: functional.ramp(x[0], 6, **o).dense()):
        results = []
        for layout in (torch.clone, spread):
            x = layout(current).requires_grad_()
            out = function(x)
            out.backward(layout(torch.ones_like(out) * torch.arange(6).reshape(-1, 1, 1, 1, 1)))
            results.append((out.detach(), x.grad))
        assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_expanded_gradient_and_bias() -> None:
    """Strides of zero: `sum().backward()` sends an expanded one."""
    case = LAYERS["linear"]
    spikes = SpikeTimes(case.times, case.steps)
    results = []
    for bias, grad in (
        (torch.zeros(1).expand(18), torch.ones(()).expand(8, 3, 18)),
        (torch.zeros(18), torch.ones(8, 3, 18)),
    ):
        w = case.weight.clone().requires_grad_()
        functional.linear(spikes, w, bias).dense().backward(grad)
        results.append(w.grad)
    assert torch.equal(*results) and float(results[0].abs().max()) > 0


@NETS
def test_empty_batch(make: type[torch.nn.Module]) -> None:
    """No samples: empty scores, and gradients of zero."""
    net = make()
    out, *gradients = learn(net, net, inputs(net, 0))
    assert 0 in out.shape
    for p, grad in zip(net.parameters(), gradients, strict=True):
        assert grad.shape == p.shape and not grad.any()


@pytest.mark.parametrize("name", LAYERS)
def test_empty_batch_keeps_shape_and_layout(name: str) -> None:
    case = LAYERS[name]
    full = call(name, SpikeTimes(case.times, case.steps), case.weight, case.bias)
    none = call(name, SpikeTimes(case.times[:0], case.steps), case.weight, case.bias)
    assert none.shape == (0, *full.shape[1:]) and none.dense().shape == (8, 0, *full.shape[1:])


@pytest.mark.parametrize("surrogate", [triangle(), atan()], ids=lambda s: s.kind)
def test_one_spike_times_used_twice(surrogate: object) -> None:
    """The gradients of two consumers add up to those of one after the other."""
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


def test_backward_twice_with_retained_graph() -> None:
    net = Cnn()
    out = net(inputs(net, 3)).sum()
    out.backward(retain_graph=True)
    once = [p.grad.clone() for p in net.parameters()]
    out.backward()
    assert all(torch.equal(p.grad, 2 * g) for p, g in zip(net.parameters(), once, strict=True))


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


SECOND: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda w: functional.linear(SpikeTimes(LAYERS["linear"].times, 8), w[:, :24]).dense(),
    "integrate": lambda w: functional.integrate(SpikeTimes(LAYERS["linear"].times, 8), w[:, :24]),
    "ramp": lambda w: functional.ramp(w, 8).dense(),
    "fire": lambda w: functional.fire(w.reshape(8, 3, -1)),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivative_is_refused(name: str) -> None:
    """A surrogate gradient has no gradient of its own: an error, not a silent zero."""
    w = torch.rand(8, 24, generator=generator(1)).requires_grad_()
    for scale in (
        torch.ones(()),
        torch.ones((), requires_grad=True),
    ):  # whether the gradient that comes in has one itself
        (grad,) = torch.autograd.grad((SECOND[name](w) * scale).sum(), w, create_graph=True)
        assert float(grad.detach().abs().max()) > 0
        with pytest.raises(RuntimeError, match="no second derivative"):
            (grad.square().sum() + w.sum()).backward()


@NETS
def test_a_second_derivative_is_refused_on_the_way_to_any_parameter(make: type[torch.nn.Module]) -> None:
    """`torch.autograd.grad` goes only where it is asked to: a penalty that it does not reach would be left out."""
    net = make()
    parameters = list(net.parameters())
    out = net(inputs(net, 3)).square().sum()
    gradients = torch.autograd.grad(out, parameters, create_graph=True)
    penalty = gradients[0].square().sum()
    for parameter in parameters:
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(penalty, parameter, retain_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out + penalty, parameters)


def test_a_hessian_is_refused() -> None:
    def loss(w: Tensor) -> Tensor:
        return functional.linear(SpikeTimes(LAYERS["linear"].times, 8), w).dense().square().sum()

    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.functional.hessian(loss, torch.rand_like(LAYERS["linear"].weight))


@NETS
def test_copies_and_state(make: type[torch.nn.Module]) -> None:
    """Deepcopy, pickle and state_dict carry a net, also after it has run."""
    net = make()
    x = inputs(net, 3)
    expected = learn(net, net, x)
    restored = make()
    for p in restored.parameters():
        p.data.zero_()
    restored.load_state_dict(net.state_dict())
    for counterpart in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), restored):
        for got, want in zip(learn(counterpart, counterpart, x), expected, strict=True):
            assert torch.equal(got, want)


def test_copies_of_spike_times() -> None:
    spikes = SpikeTimes(LAYERS["conv2d"].times, 8)
    for counterpart in (copy.deepcopy(spikes), copy.copy(spikes), pickle.loads(pickle.dumps(spikes))):
        assert isinstance(counterpart, SpikeTimes) and counterpart.steps == 8
        assert torch.equal(counterpart.times, spikes.times)
        assert counterpart.times.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(counterpart.dense(), spikes.dense())


def test_no_state_between_calls() -> None:
    """Samples one by one give what the batch gives, and a second call gives the same."""
    net = Mlp()
    x = inputs(net, 6)
    whole = net(x)
    assert torch.equal(torch.cat([net(x[i : i + 1]) for i in range(6)]), whole)
    assert torch.equal(net(x), whole)
