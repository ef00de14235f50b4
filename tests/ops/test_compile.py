"""`torch.compile(fullgraph=True)`, forward and backward, gives what eager mode gives."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from firstspike import SpikeTimes, functional
from firstspike.ops import _support
from firstspike.surrogate import atan, rectangle

from ..torch_version import needs_one_graph
from .nets import Cnn, Mlp, Neurons, inputs, learn

pytestmark = needs_one_graph


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """No code from the test before."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def check(net: torch.nn.Module, compiled: torch.nn.Module, batch: int, seed: int = 0) -> None:
    """Equal up to the order of sums in torch's own operators."""
    x = inputs(net, batch, seed)
    expected = learn(net, net, x)
    assert all(float(e.abs().max()) > 0 for e in expected)
    for got, want in zip(learn(net, compiled, x), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [Mlp, Cnn, Neurons, lambda: Mlp(atan()), lambda: Cnn(rectangle())],
    ids=["mlp", "cnn", "neurons", "mlp-atan", "cnn-rectangle"],
)
def test_whole_graph(make: type[torch.nn.Module]) -> None:
    """Several batches: the number of support entries differs in each, and the batch size becomes dynamic."""
    net = make()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for batch, seed in ((3, 0), (3, 1), (5, 2), (2, 3)):
        check(net, compiled, batch, seed)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.parametrize("make", [Mlp, Cnn], ids=["mlp", "cnn"])
def test_inductor(make: type[torch.nn.Module]) -> None:
    net = make()
    compiled = torch.compile(net, fullgraph=True)
    check(net, compiled, 3)
    check(net, compiled, 3, 1)


@pytest.mark.parametrize("make", [Mlp, Cnn], ids=["mlp", "cnn"])
def test_the_width_of_a_group_is_part_of_the_graph(make: type[torch.nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """So the key of inductor's cache differs where the instruction set does."""
    net, graphs = make(), []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(str(graph.graph))
        return graph.forward

    for tile in (_support.TILES["cpu"], 2 * _support.TILES["cpu"]):
        torch.compiler.reset()
        monkeypatch.setitem(_support.TILES, "cpu", tile)
        compiled = torch.compile(net, fullgraph=True, backend=keep)
        with torch.no_grad():
            compiled(inputs(net, 3))
    assert len(graphs) == 2 and graphs[0] != graphs[1]


def test_a_graph_of_another_width_is_refused() -> None:
    current, width = torch.rand(2, 1, 1, 5), _support.TILES["cpu"]
    ramp = torch.ops.firstspike.ramp
    assert len(ramp(current, 4, [1.0, 1.0, 0.0, 1.0, 0.0], True, width)[2]) == 3  # offsets of two groups
    with pytest.raises(RuntimeError, match=f"groups of {width + 1} neurons.*compile it again"):
        ramp(current, 4, [1.0, 1.0, 0.0, 1.0, 0.0], True, width + 1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch hides it, unless it is an error
def test_a_graph_that_ends_between_two_layers() -> None:
    """The gradient passes from graph to graph."""
    net = Mlp()
    first, integrate = functional.linear, functional.integrate

    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, times: torch.Tensor) -> torch.Tensor:
            spikes = first(SpikeTimes(times, net.steps), net.w1, net.b1)
            torch._dynamo.graph_break()
            return integrate(first(spikes, net.w2), net.w3)[-1]

    check(net, torch.compile(Broken(), backend="aot_eager"), 3)
