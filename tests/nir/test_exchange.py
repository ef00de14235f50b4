"""Graphs by hand and of our own nets: what is written, what is read, exact round trips, refusals that name the node."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

import firstspike
from firstspike import SpikeTimes, models, nn

nir = pytest.importorskip("nir")

from firstspike.nir import from_nir, to_nir  # noqa: E402  # needs nir
from firstspike.nir.reading import FiresOnce  # noqa: E402


def net(spec="6C3-AP2-8C3-AP2-12-5", shape=(2, 8, 8), seed=0, **options):
    draw = torch.Generator().manual_seed(seed)
    made = models.build(spec, input_shape=shape, steps=6, generator=draw, **options)
    with torch.no_grad():
        for layer in made.layers:
            if getattr(layer, "bias", None) is not None:
                layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=draw))
    return made.eval()


def spikes(*shape, steps=6, seed=1):
    draw = torch.Generator().manual_seed(seed)
    times = torch.randint(0, steps + 2, shape, generator=draw)
    return SpikeTimes(times.masked_fill(times >= steps, 255).to(torch.uint8), steps)


@pytest.mark.parametrize(
    ("spec", "shape", "options"),
    [
        ("6C3-AP2-8C3-AP2-12-5", (2, 8, 8), {}),
        ("6C3-AP2-8C3-AP2-12-5", (2, 8, 8), {"readout": "first-spike", "decay": 0.9}),
        ("4C3-R(4C3-6C3)-AP2-R(6C3s2)-10-R(10-12)-5", (2, 8, 8), {"encoder": "latency"}),
        ("4C3-R(4C3-6C3)-AP2-R(6C3)-5", (2, 8, 8), {"readout": "first-spike", "learn_threshold": True}),
        ("30-20-5", (30,), {"encoder": "latency", "readout": "twd-exp", "threshold": 0.7}),
        ("30-20-5", (30,), {"encoder": "spikes", "readout": "membrane-mean", "bias": False, "decay": 0.8}),
    ],
)
def test_a_round_trip_is_exact(spec, shape, options, tmp_path):
    model = net(spec, shape, **options)
    nir.write(tmp_path / "net.nir", to_nir(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FiresOnce)
        again = from_nir(nir.read(tmp_path / "net.nir"))
    x = spikes(20, *shape) if options.get("encoder") == "spikes" else torch.rand(20, *shape)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))
        for mine, theirs in zip(model.observe(x).layers, again.observe(x).layers, strict=True):
            assert torch.equal(mine.times, theirs.times)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), net(spec, shape, **options).state_dict().values(), strict=True)
    )


def test_a_shortcut_is_a_node_into_the_neurons():
    """What the graph says of a block is what the block computes; a scale per channel comes back, a full matrix does not."""
    draw = torch.Generator().manual_seed(0)
    layers = [nn.TTFSConv2d(3, 5, 3, padding=1, stride=2, steps=6, generator=draw) for _ in range(1)]
    block = nn.Residual(layers, scale=torch.tensor([0.5, -0.25, 1.0]))
    model = torch.nn.Sequential(block)
    graph, x = to_nir(model, input_shape=(3, 6, 6)), spikes(20, 3, 6, 6)
    assert {edge for edge in graph.edges if "layer0_0_shortcut" in edge} == {
        ("input", "layer0_0_shortcut"),
        ("layer0_0_shortcut", "layer0_0_neurons"),
    }
    own, beside = graph.nodes["layer0_0_synapses"], graph.nodes["layer0_0_shortcut"]
    dense, current = x.dense().flatten(0, 1), 0
    for node in (own, beside):
        current = current + torch.nn.functional.conv2d(
            dense, torch.tensor(node.weight), torch.tensor(node.bias), tuple(node.stride), tuple(node.padding)
        )
    fired = firstspike.functional.fire(current.unflatten(0, (6, 20)))
    assert torch.equal(fired, model(x).dense())
    assert torch.equal(from_nir(graph)(x).times, model(x).times)
    beside.weight[0, 1] = 1.0
    with pytest.raises(ValueError, match="the weight of a residual block's shortcut must be diagonal"):
        from_nir(graph)
    graph.metadata.clear()
    with pytest.raises(ValueError, match="the graph must be a chain"):
        from_nir(graph, 6)


def test_without_the_metadata_it_is_a_chain_of_layers_with_the_same_spikes():
    model = net("30-20-5", (30,), encoder="spikes", readout="first-spike")
    graph = to_nir(model)
    graph.metadata.clear()
    with pytest.warns(FiresOnce, match="may fire more than once"):
        again = from_nir(graph, 6)
    x = spikes(50, 30)
    out = again(x)
    assert isinstance(out, SpikeTimes) and torch.equal(out.times, model.observe(x).layers[-1].times)


def test_thresholds_per_neuron_and_direct_coding():
    draw = torch.Generator().manual_seed(2)
    model = models.TTFSNet(
        [
            nn.DirectConv2d(1, 4, (3, 2), steps=6, stride=(2, 1), padding=(1, 0), generator=draw),
            nn.TTFSLinear(4 * 4 * 7, 10, steps=6, threshold=torch.linspace(0.5, 2, 10), generator=draw),
        ],
        encoder="direct",
        readout="first-spike",
        input_shape=(1, 8, 8),
    ).eval()
    graph, x = to_nir(model), torch.rand(30, 1, 8, 8)
    expected = model.observe(x).layers[-1]
    assert torch.equal(from_nir(graph).observe(x).layers[-1].times, expected.times)
    graph.metadata.clear()
    with pytest.warns(FiresOnce):
        chain = from_nir(graph, 6, encoder="direct")
    assert (chain(x).times == expected.times).float().mean() > 0.99


def affine(weight, bias):
    return nir.Affine(np.array(weight, np.float32), np.array(bias, np.float32))


def integrate(n, threshold=1.0, r=1e4, **options):
    return nir.IF(np.full(n, r), np.full(n, threshold), np.full(n, options.get("reset", 0.0)))


def chain(*nodes, shape=(2,)):
    names = {"input": nir.Input({"input": np.array(shape)})} | {f"n{i}": node for i, node in enumerate(nodes)}
    names["output"] = nir.Output({"output": np.array([1])})
    keys = list(names)
    return nir.NIRGraph(names, list(itertools.pairwise(keys)), type_check=False)


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
def test_if_by_hand():
    """Weights 1 and 2, threshold 2, fires at >: inputs in steps 0 and 1 give V = 1, 3; with V = 2 it stays silent."""
    layer = from_nir(chain(nir.Linear(np.array([[1.0, 2.0]])), integrate(1, 2.0)), 4)
    times = torch.tensor([[0, 1], [255, 1], [1, 255]], dtype=torch.uint8)
    assert layer(SpikeTimes(times, 4)).times.flatten().tolist() == [1, 255, 255]


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
def test_lif_scale_and_readout_by_hand():
    """tau = 4 dt, r = 2: V = 3/4 V + 1/2 X; Scale 4 makes X = 4 in step 0: V = 2, 1.5, 1.125. LI: V = 3/4 V + X."""
    n1 = np.ones(1)
    lif = nir.LIF(tau=4e-4 * n1, r=2 * n1, v_leak=0 * n1, v_threshold=5 * n1, v_reset=0 * n1)
    layer = from_nir(chain(nir.Linear(np.array([[1.0]])), nir.Scale(4 * n1), lif, shape=(1,)), 3)[0]
    v = layer.membrane(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 3))
    assert v.flatten().tolist() == pytest.approx([2.0, 1.5, 1.125])
    readout = from_nir(
        chain(nir.Linear(np.array([[1.0]])), nir.LI(tau=4e-4 * n1, r=4 * n1, v_leak=0 * n1), shape=(1,)), 3
    )
    v = readout(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 3))
    assert v.flatten().tolist() == pytest.approx([1.0, 0.75, 0.5625])


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
@pytest.mark.parametrize(("kind", "weight"), [("AvgPool2d", 1.0), ("SumPool2d", 4.0)])
def test_pools_by_hand(kind, weight):
    """Four pixels of a block in step 0 add up to 4 (sum) or 1 (average); a threshold between tells them apart."""
    size = np.array([2, 2])
    pool = getattr(nir, kind)(size, size, np.array([0, 0]))
    layer = from_nir(
        chain(
            pool,
            nir.Flatten({"input": np.array([1, 1, 1])}),
            nir.Linear(np.array([[1.0]])),
            integrate(1, weight - 0.1),
            shape=(1, 2, 2),
        ),
        2,
    )
    fired = layer(SpikeTimes(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), 2))
    assert fired.times.tolist() == [[0]]
    assert torch.allclose(layer[0].weight, torch.tensor([[weight]]))


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([affine([[1, 1]], [0])], "node n0: neurons must follow its currents"),
        ([integrate(1)], "node n0: IF cannot stand where synapses or a pool must follow"),
        ([affine([[1, 1]], [0]), affine([[1]], [0])], "node n1: Affine cannot stand after synapses"),
        ([affine([[1, 1]], [0]), integrate(1, reset=0.5)], "node n1: v_reset must be 0"),
        ([affine([[1, 1]], [0]), integrate(1, -1.0)], "node n1: v_threshold must be positive"),
        ([affine([[1, 1]], [0]), integrate(1, 0.0)], "node n1: v_threshold must be positive, got 0.0"),
        ([affine([[1, 1]], [0]), integrate(1, np.nan)], "node n1: v_threshold must be finite"),
        ([affine([[1, np.nan]], [0]), integrate(1)], "node n0: weight must be finite in float32"),
        ([affine([[1, 1]], [np.inf]), integrate(1)], "node n0: bias must be finite in float32"),
        ([nir.Linear(np.full((1, 2), 1e60)), integrate(1)], "node n0: weight must be finite in float32"),
        (
            [nir.Linear(np.ones((1, 2))), nir.Scale(np.full(1, 1e60)), integrate(1)],
            "node n0: weight must be finite .* of node n2",
        ),
        ([nir.Linear(np.full((1, 2), 1j)), integrate(1)], "node n0: weight must hold real numbers, got complex128"),
        ([affine([[1, 1]], [0]), nir.I(np.ones(1)), affine([[1]], [0])], "node n2: nothing may follow"),
        ([nir.AvgPool2d(np.array([3, 3]), np.array([2, 2]), np.array([0, 0]))], "node n0: a pool must be square"),
        ([nir.Delay(np.ones(2))], "node n0: Delay cannot stand"),
    ],
)
def test_refusals_name_the_node(nodes, text):
    with pytest.raises(ValueError, match=text):
        from_nir(chain(*nodes), 4)


def test_graphs_that_are_no_chains():
    graph = chain(affine([[1, 1]], [0]), integrate(1))
    graph.edges.append(("n0", "output"))
    with pytest.raises(ValueError, match="node n0: it goes to n1 and to output"):
        from_nir(graph, 4)
    graph = chain(affine([[1, 1]], [0]), integrate(1))
    graph.edges[-1] = ("n1", "n0")
    with pytest.raises(ValueError, match="node n0: it is reached again"):
        from_nir(graph, 4)


def test_a_readout_alone_fires_never_and_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(chain(affine([[1, 1]], [0]), nir.I(np.ones(1))), 4)


@pytest.mark.parametrize(("what", "number"), [("weight", 0), ("bias", 1)])
def test_nan_is_not_exported(what, number):
    bad = net("30-8-5", (30,), encoder="spikes")
    with torch.no_grad():
        getattr(bad.layers[number], what).view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match=f"layer {number}: its {what} holds NaN or infinity"):
        to_nir(bad)


def test_arguments():
    graph = chain(affine([[1, 1]], [0]), integrate(1))
    with pytest.raises(ValueError, match="steps must be given"):
        from_nir(graph)
    with pytest.raises(TypeError, match="net must be a TTFSNet or a Sequential"):
        to_nir(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="does not tell the shape of a sample"):
        to_nir(torch.nn.Sequential(nn.TTFSConv2d(2, 2, 3, steps=4)))
    with pytest.raises(ValueError, match="layer 1: NIR has no node for MaxPool2d"):
        to_nir(net("4C3-MP2-5", (1, 8, 8)))
    own = to_nir(net("30-5", (30,), encoder="spikes"))
    own.nodes["layer0_synapses"].weight = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"are not those of firstspike\.nir\.to_nir"):
        from_nir(own)
    assert firstspike.nir.to_nir is to_nir


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (nn.TTFSLinear(6, 4, steps=4), (99,), r"must fit the net, but layer 0 gets a sample of shape \(99,\)"),
        (nn.TTFSConv2d(2, 4, 3, steps=4), (1, 28, 28), r"must fit the net, .* shape \(1, 28, 28\)"),
        (nn.TTFSConv2d(2, 4, 3, steps=4), (2, 2, 9), "must fit the net"),
        (nn.TTFSConv2d(2, 4, 3, steps=4), (2,), "must fit the net, .* it takes maps"),
        (nn.TTFSLinear(6, 4, steps=4), "6", "must be \\(features,\\) or \\(channels, height, width\\), got '6'"),
    ],
)
def test_an_input_that_does_not_fit(layer, shape, text):
    with pytest.raises((TypeError, ValueError), match=f"input_shape {text}"):
        to_nir(torch.nn.Sequential(layer), input_shape=shape)


def test_what_a_net_and_its_graph_know_is_not_changed():
    model = net("30-5", (30,), encoder="spikes")
    with pytest.raises(ValueError, match=r"input_shape must be that of the net, \(30,\), or None, got \(15,\)"):
        to_nir(model, input_shape=(15,))
    graph = to_nir(model, input_shape=(30,))
    with pytest.raises(ValueError, match="steps must be None or those of the graph's net, 6, got 32"):
        from_nir(graph, steps=32)
    assert from_nir(graph, steps=6).steps == 6


@pytest.mark.filterwarnings("ignore::firstspike.nir.reading.FiresOnce")
def test_a_directly_coded_layer_takes_the_maps_that_the_graph_flattens():
    flatten = nir.Flatten({"input": np.array([1, 1, 2])}, start_dim=0)
    layers = from_nir(chain(flatten, affine([[1, 1]], [0]), integrate(1), shape=(1, 1, 2)), 4, encoder="direct")
    assert layers(torch.ones(3, 1, 1, 2)).shape == (3, 1)


def test_a_potential_that_grows_is_refused() -> None:
    net = models.build("16-8-3", input_shape=(16,), steps=4, decay=1.5)
    with pytest.raises(ValueError, match=r"DirectLinear has decay 1\.5; NIR has no neuron whose potential grows"):
        to_nir(net)


def test_kernels_that_are_not_square_come_back_from_a_file(tmp_path):
    """nir 1.0.8 infers a wrong output for them, so its type check is left out (docs/howto/other-libraries.md)."""
    model, x = net("4C3x1-4C1x3s2-3"), torch.rand(10, 2, 8, 8)
    nir.write(tmp_path / "net.nir", to_nir(model))
    again = from_nir(nir.read(tmp_path / "net.nir", type_check=False))
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
