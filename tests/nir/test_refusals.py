"""What `to_nir` and `from_nir` refuse: call, error, and the node, layer or argument that the message names."""

from __future__ import annotations

import contextlib
import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstspike import models, nn

nir = pytest.importorskip("nir")

from firstspike.nir import from_nir, to_nir  # noqa: E402  # needs nir

from ..samples import refusals  # noqa: E402
from .test_exchange import affine, chain, integrate, net  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
CURRENT = affine([[1, 1]], [0])


def convolution(stride=1, dilation=1, groups=1, padding=0, bias=(0, 0)):
    weight = np.ones((2, 1, 3, 3))
    node = nir.Conv2d((6, 6), weight, stride, 0, dilation, groups, np.array(bias))
    node.padding = padding  # nir's own check does not know every one
    return node


def leaky(tau):
    return nir.LIF(np.full(1, tau), np.ones(1), np.zeros(1), np.ones(1), np.zeros(1))


def node_with(node, **values):
    """The node with values that nir's own check does not know."""
    for name, value in values.items():
        setattr(node, name, value)
    return node


MAPS = nir.IF(np.ones((2, 2, 2)), np.ones((2, 2, 2)), np.zeros((2, 2, 2)))
NODES = [
    ([CURRENT], "end in neurons"),
    ([integrate(1)], "node n0: IF"),
    ([CURRENT, affine([[1]], [0])], "node n1: Affine"),
    ([CURRENT, integrate(1, reset=0.5)], "node n1: v_reset"),
    *[([CURRENT, integrate(1, bad)], "node n1: v_threshold") for bad in (-1.0, 0.0, np.nan, np.inf)],
    ([affine([[1, np.nan]], [0]), integrate(1)], "node n1: weight"),
    ([affine([[1, 1]], [np.inf]), integrate(1)], "node n1: .* bias"),
    ([nir.Linear(np.ones((1, 2))), nir.Scale(np.full(1, 1e60)), integrate(1)], "node n2: weight"),
    ([CURRENT, nir.I(np.ones(1)), affine([[1]], [0])], "node n2"),
    ([nir.AvgPool2d(np.array([3, 3]), np.array([2, 2]), np.array([0, 0]))], "node n0: a pool"),
    ([nir.AvgPool2d(np.array([1.5, 1.5]), np.array([1.5, 1.5]), np.array([0, 0]))], "node n0: kernel_size .* 1.5"),
    ([nir.Delay(np.ones(2))], "node n0: Delay"),
    *[([CURRENT, leaky(tau)], "node n1: tau") for tau in (-1e-2, 0.0, -np.inf, np.nan)],
    ([CURRENT, node_with(integrate(1), r=np.zeros(0))], "node n1: r must be"),
    ([affine([[1, 1]] * 2, [0, 0]), node_with(integrate(1, 1), r=np.zeros(3))], "node n1: r must be"),
    ([CURRENT, node_with(leaky(1e-2), tau=np.zeros(0))], "node n1: tau"),
    ([convolution(dilation=2, groups=1), MAPS], "node n0: dilation"),
    *[([convolution(groups=groups), MAPS], "node n0: .*groups") for groups in (2, 1.5, np.inf)],
    ([convolution(bias=np.ones(5)), MAPS], "node n0: bias"),
    *[([affine([[1, 1]], bias), integrate(1)], "node n0: bias") for bias in (np.ones(7), np.ones((4, 1)))],
    *[([nir.Linear(np.ones((1, 2, *more))), integrate(1)], "node n0: weight") for more in ((2,), (1, 1), (0,))],
    ([node_with(nir.Linear(np.ones((1, 2))), weight=np.ones(2)), integrate(1)], "node n0: weight"),
    *[([convolution(stride=np.array(bad)), MAPS], "node n0: stride") for bad in ([1.5, 1.5], [1, 2, 3])],
    *[([convolution(padding=bad), MAPS], "node n0: padding") for bad in ("full", np.array([0.5, 0.5]))],
]


@pytest.mark.parametrize(("nodes", "named"), NODES)
def test_nodes(nodes, named):
    with pytest.raises(ValueError, match=named):
        from_nir(chain(*nodes), 4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda edges: edges.append(("n0", "output")), "node"),
        (lambda edges: edges.__setitem__(-1, ("n1", "n0")), "node"),
        (lambda edges: edges.__setitem__(-1, ("n1", "outptu")), "node"),
    ],
)
def test_graphs_that_are_no_chains(change, named):
    graph = chain(CURRENT, integrate(1))
    change(graph.edges)
    with pytest.raises(ValueError, match=named):
        from_nir(graph, 4)


ODD = [
    None, "x", 3, [1, 2], math.nan, 1e300, np.zeros(0), np.zeros((2, 0)), np.ones(5), -np.ones(2), np.ones((2, 2)),
    np.array(["a"]), np.ones((2, 2, 3, 3)), np.ones((1, 1, 1, 1, 1)), torch.ones(2),
]  # fmt: skip
FLAT = nir.LIF(np.ones(2), np.ones(2), np.zeros(2), np.ones(2), np.zeros(2))
CHAINS = [
    (nir.Affine(np.ones((2, 3)), np.zeros(2)), nir.Scale(np.ones(2)), FLAT),
    (nir.Linear(np.ones((2, 3))), nir.CubaLIF(np.ones(2), np.ones(2), np.ones(2), np.zeros(2), np.ones(2), np.zeros(2))),
    (nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), convolution(), MAPS),
]


@given(st.sampled_from(CHAINS), st.data())
def test_odd_values_in_nodes_are_refused_or_read(nodes, data):
    nodes = [copy.copy(node) for node in nodes]
    node = data.draw(st.sampled_from(nodes))
    name = data.draw(st.sampled_from([name for name in vars(node) if not name.endswith(("_type", "data"))]))
    setattr(node, name, data.draw(st.sampled_from(ODD)))
    with contextlib.suppress(ValueError):
        from_nir(chain(*nodes), 4, encoder=data.draw(st.sampled_from(["spikes", "direct"])))


def test_a_loop_is_called_recurrent():
    graph = chain(CURRENT, integrate(1))
    graph.nodes["again"] = affine([[1]], [0])
    graph.edges += [("n1", "again"), ("again", "n1")]
    with pytest.raises(ValueError, match="node (n1|again): the graph is recurrent"):
        from_nir(graph, 4)


def holding_nan(what):
    bad = net("30-8-5", (30,), encoder="spikes")
    with torch.no_grad():
        getattr(bad.layers[1], what).view(-1)[0] = torch.nan
    return bad


def sequential(layer):
    return torch.nn.Sequential(layer)


LINEAR, CONVOLUTION = nn.TTFSLinear(6, 4, steps=4), nn.TTFSConv2d(2, 4, 3, steps=4)
FLAT_BLOCK = nn.Residual([nn.TTFSLinear(16, 16, steps=4)])
test_calls = refusals(
    (lambda: from_nir(chain(CURRENT, integrate(1))), ValueError, "steps"),
    (lambda: from_nir(3, 4), TypeError, "graph"),
    (lambda: from_nir("missing.nir", 4), FileNotFoundError, "missing.nir"),
    (lambda: from_nir(to_nir(net("30-5", (30,), encoder="spikes")), steps=32), ValueError, "steps"),
    (lambda: to_nir(torch.nn.Linear(2, 2)), TypeError, "net"),
    (lambda: to_nir(LINEAR), TypeError, "net"),
    (lambda: to_nir(sequential(CONVOLUTION)), ValueError, "input_shape"),
    (lambda: to_nir(net("4C3-MP2-5", (1, 8, 8))), ValueError, "layer 1: .* MaxPool2d"),
    (lambda: to_nir(holding_nan("weight")), ValueError, "layer 1: its weight"),
    (lambda: to_nir(holding_nan("bias")), ValueError, "layer 1: its bias"),
    (lambda: to_nir(sequential(LINEAR), input_shape=(99,)), ValueError, "input_shape .* layer 0"),
    (lambda: to_nir(sequential(CONVOLUTION), input_shape=(1, 28, 28)), ValueError, "input_shape .* layer 0"),
    (lambda: to_nir(sequential(CONVOLUTION), input_shape=(2, 2, 9)), ValueError, "input_shape"),
    (lambda: to_nir(sequential(CONVOLUTION), input_shape=(2,)), ValueError, "input_shape"),
    (lambda: to_nir(sequential(LINEAR), input_shape="6"), ValueError, "input_shape"),
    (lambda: to_nir(net("30-5", (30,), encoder="spikes"), input_shape=(15,)), ValueError, "input_shape"),
    (lambda: to_nir(models.build("16-8-3", input_shape=(16,), steps=4, decay=1.5)), ValueError, "decay 1.5"),
    (lambda: to_nir(models.build("16-8-3", input_shape=(16,), steps=4, timing="windowed")), ValueError, "its own window"),
    (
        lambda: to_nir(torch.nn.Sequential(nn.TTFSConv2d(1, 1, 1, steps=4), FLAT_BLOCK), input_shape=(1, 4, 4)),
        ValueError,
        "layer 1_0",
    ),
)


@pytest.mark.parametrize(("field", "decay"), [("v_threshold", 1.0), ("r", 1.0), ("tau", 0.75)])
def test_edited_neurons_of_our_own_graph(field, decay):
    """The metadata describe them, so that an edited node would have no effect."""
    graph = to_nir(models.build("6-5-4-3", input_shape=(6,), steps=4, encoder="latency", decay=decay))
    neurons = graph.nodes["layer1_neurons"]
    setattr(neurons, field, getattr(neurons, field) * 3)
    with pytest.raises(ValueError, match=f"layer 1: {field}"):
        from_nir(graph)


@pytest.mark.parametrize("edit", ["metadata", "weight", "json"])
def test_our_own_graph_whose_parts_do_not_fit(edit):
    graph = to_nir(models.mlp("64-32-10", steps=8))
    if edit == "weight":
        graph.nodes["layer0_synapses"].weight = np.zeros((2, 2), np.float32)
    else:
        record = json.loads(graph.metadata["firstspike.net"])
        record["net"]["layers"][0]["settings"] |= {"in_features": 10**7, "out_features": 10**6}
        graph.metadata["firstspike.net"] = json.dumps(record) if edit == "metadata" else "{"
    with pytest.raises(ValueError, match=r"firstspike\.nir\.to_nir"):
        from_nir(graph)


def test_a_damaged_file(tmp_path):
    nir.write(tmp_path / "net.nir", to_nir(models.mlp("6-5-3", steps=4)))
    raw = (tmp_path / "net.nir").read_bytes()
    for content in (raw[: len(raw) // 2], b"", b"nothing"):
        (tmp_path / "net.nir").write_bytes(content)
        with pytest.raises(ValueError, match="net.nir"):
            from_nir(tmp_path / "net.nir")
