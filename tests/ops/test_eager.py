"""Eager calls go past the dispatcher, and nobody can tell by the results; whoever looks at operators still sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from firstspike.ops._operator import bypasses_dispatcher

from ..compare import Operators
from .nets import Cnn, Mlp, Neurons, inputs, learn

NETS = pytest.mark.parametrize("make", [Mlp, Cnn, Neurons])
FIRES = {"firstspike::fire", "firstspike::fire_backward"}
LAYERS = {"firstspike::fire_layer", "firstspike::fire_layer_backward"}


@NETS
def test_same_bits_through_the_dispatcher(make: type[torch.nn.Module]) -> None:
    """A mode makes every call a dispatched one, forward and backward: the same output and gradients, bit for bit."""
    net = make()
    x = inputs(net, 3)
    expected = learn(net, net, x)
    with Operators() as operators:
        got = learn(net, net, x)
    assert operators.names >= (FIRES if make is Neurons else LAYERS)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b) and float(b.abs().max()) > 0


@NETS
def test_same_bits_without_a_gradient(make: type[torch.nn.Module]) -> None:
    net = make()
    x = inputs(net, 3)
    expected = net(x)
    assert expected.requires_grad
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            got = net(x)
            with Operators() as operators:
                dispatched = net(x)
        assert any(name.startswith("firstspike::") for name in operators.names) and not got.requires_grad
        assert torch.equal(got, expected) and torch.equal(dispatched, expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_plain_calls_bypass_the_dispatcher(context: Callable[[], Any]) -> None:
    with context():
        assert bypasses_dispatcher(torch.zeros(2), None, torch.nn.Parameter(torch.zeros(1)), torch.zeros(1, dtype=torch.uint8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bypasses_dispatcher(torch.zeros(2))


def seen_inside(call: Callable[[Callable[[Tensor], Tensor]], object]) -> bool:
    """What `bypasses_dispatcher` says of the tensor that `call` hands to its function."""
    answers = []

    def look(x: Tensor) -> Tensor:
        answers.append(bypasses_dispatcher(x))
        return x * 2

    call(look)
    return any(answers)


class Functions(TorchFunctionMode):
    """Sees every function of torch, and calls it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Call."""
        return func(*args, **(kwargs or {}))


class Sub(Tensor):
    """A subclass that does nothing."""


def _inside(mode: Any) -> Callable[[Callable[[Tensor], Tensor]], object]:
    def call(look: Callable[[Tensor], Tensor]) -> None:
        with mode():
            look(torch.zeros(3))

    return call


LOOKERS: dict[str, Callable[[Callable[[Tensor], Tensor]], object]] = {
    "fake mode": _inside(FakeTensorMode),
    "a fake tensor": lambda look: look(FakeTensorMode().from_tensor(torch.zeros(3))),
    "dispatch mode": _inside(Operators),
    "function mode": _inside(Functions),
    "default device": _inside(lambda: torch.device("cpu")),
    "profiler": _inside(torch.profiler.profile),
    "meta": lambda look: look(torch.zeros(3, device="meta")),
    "subclass": lambda look: look(torch.zeros(3).as_subclass(Sub)),
    "sparse": lambda look: look(torch.zeros(3).to_sparse()),
    "negated view": lambda look: look(torch.zeros(3, dtype=torch.complex64).conj().imag),
    "vmap": lambda look: torch.vmap(look)(torch.zeros(3)),
    "torch.func.grad": lambda look: torch.func.grad(lambda x: look(x).sum())(torch.zeros(3)),
    "functionalize": lambda look: torch.func.functionalize(look)(torch.zeros(3)),
    "make_fx": lambda look: torch.fx.experimental.proxy_tensor.make_fx(look)(torch.zeros(3)),
    "export": lambda look: torch.export.export(_Module(look), (torch.zeros(3),), strict=False),
}


class _Module(torch.nn.Module):
    def __init__(self, look: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.look = look

    def forward(self, x: Tensor) -> Tensor:
        """What the function gives."""
        return self.look(x)


@pytest.mark.parametrize("looker", LOOKERS)
def test_dispatched_for_those_who_look_at_operators(looker: str) -> None:
    assert not seen_inside(LOOKERS[looker])


def _loss(net: Mlp, x: Tensor) -> Callable[[dict[str, Tensor]], Tensor]:
    return lambda weights: torch.func.functional_call(net, weights, (x,)).sum()


TRANSFORMS: dict[str, Callable[[Mlp, Tensor, dict[str, Tensor]], object]] = {
    "grad": lambda net, x, weights: torch.func.grad(_loss(net, x))(weights),
    "jvp": lambda net, x, weights: torch.func.jvp(_loss(net, x), (weights,), (weights,)),
    "vmap": lambda net, x, weights: torch.vmap(lambda one: _loss(net, one[None])(weights))(x),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit, which its jvp uses
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_of_torch_func_are_refused(transform: str) -> None:
    net = Mlp()
    with pytest.raises(RuntimeError, match=rf"within torch.func's {transform}: take gradients by loss.backward"):
        TRANSFORMS[transform](net, inputs(net, 3), dict(net.named_parameters()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torch_jit_is_refused() -> None:
    net = Mlp()
    with pytest.raises(RuntimeError, match=r"torch\.jit\.trace .* use torch\.export"):
        torch.jit.trace(net, inputs(net, 3))


def test_the_profiler_names_the_operators() -> None:
    net = Mlp()
    with torch.profiler.profile() as profile:
        learn(net, net, inputs(net, 3))
    names = {event.key for event in profile.key_averages()}
    assert {*LAYERS, "firstspike::integrate_layer"} <= names


@NETS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit, which its forward mode uses
@pytest.mark.parametrize("learns", [False, True])
def test_tangents_of_forward_mode_are_refused_and_not_lost(make: type[torch.nn.Module], learns: bool) -> None:
    net = make().requires_grad_(learns)
    x = inputs(net, 3)
    name, weight = next(iter(net.named_parameters()), ("", None))
    with forward_ad.dual_level():
        expected = net(x)  # without a tangent, as ever
        if weight is None:
            x = forward_ad.make_dual(x.detach(), torch.ones_like(x))
        else:
            dual = {name: forward_ad.make_dual(weight.detach(), torch.ones_like(weight))}
        with pytest.raises(RuntimeError, match="operators have no forward mode: take gradients by loss.backward"):
            net(x) if weight is None else torch.func.functional_call(net, dual, (x,))
    assert expected is not None
