"""Graphs by hand and of our own nets: what is written, what is read, exact round trips."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

import firstspike
from firstspike import SpikeTimes, emulator, models, nn

nir = pytest.importorskip("nir")

from firstspike.nir import from_nir, to_nir  # noqa: E402  # needs nir
from firstspike.nir.exchange import FiresOnce  # noqa: E402


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
        ("4C3-R(4C3)-5", (2, 8, 8), {"synaptic_decay": 0.5, "decay": 0.75}),
    ],
)
@pytest.mark.parametrize("integrator", [False, True])
def test_a_round_trip_is_exact(spec, shape, options, integrator, tmp_path):
    model = net(spec, shape, **options)
    nir.write(tmp_path / "net.nir", to_nir(model, integrator=integrator))
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


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
def test_if_by_hand():
    """Weights 1 and 2, threshold 2, fires at >: inputs in steps 0 and 1 give V = 1, 3; with V = 2 it stays silent."""
    layer = from_nir(chain(nir.Linear(np.array([[1.0, 2.0]])), integrate(1, 2.0)), 4)
    times = torch.tensor([[0, 1], [255, 1], [1, 255]], dtype=torch.uint8)
    assert layer(SpikeTimes(times, 4)).times.flatten().tolist() == [1, 255, 255]


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
def test_nodes_may_hold_tensors_as_other_exporters_leave_them():
    graph = to_nir(net("6-5-4", (6,), encoder="spikes", readout="first-spike", decay=0.75, synaptic_decay=0.5))
    graph.metadata.clear()
    plain, x = from_nir(graph, 6), spikes(9, 6)
    for node in graph.nodes.values():
        for name, value in vars(node).items():
            if isinstance(value, np.ndarray):
                setattr(node, name, torch.tensor(value, requires_grad=value.dtype.kind == "f"))
    assert from_nir(graph, 6)(x) == plain(x)


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
def test_lif_scale_and_readout_by_hand():
    """tau = 4 dt, r = 2: V = 3/4 V + 1/2 X; Scale 4 makes X = 4 in step 0: V = 2, 1.5, 1.125. LI: V = 3/4 V + X."""
    n1 = np.ones(1)
    lif = nir.LIF(tau=4e-4 * n1, r=2 * n1, v_leak=0 * n1, v_threshold=5 * n1, v_reset=0 * n1)
    layer = from_nir(chain(nir.Linear(np.array([[1.0]])), nir.Scale(4 * n1), lif, shape=(1,)), 3)[0]
    v = layer.membrane(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 3))
    assert v.flatten().tolist() == pytest.approx([2.0, 1.5, 1.125])
    nodes = nir.Linear(np.array([[1.0]])), nir.LI(tau=4e-4 * n1, r=4 * n1, v_leak=0 * n1)
    readout = from_nir(chain(*nodes, shape=(1,)), 3)
    v = readout(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 3))
    assert v.flatten().tolist() == pytest.approx([1.0, 0.75, 0.5625])


def test_currents_by_hand():
    """tau_syn = 2 dt, w_in = 4: I = 1/2 I + 2 X; tau_mem = 4 dt, r = 2: V = 3/4 V + 1/2 I. X = 1 in step 0: I = 2, 1, 1/2."""
    n1 = np.ones(1)
    node = nir.CubaLI(tau_syn=2e-4 * n1, tau_mem=4e-4 * n1, r=2 * n1, v_leak=0 * n1, w_in=4 * n1)
    readout = from_nir(chain(nir.Linear(np.array([[1.0]])), node, shape=(1,)), 3)
    v = readout(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 3))
    assert v.flatten().tolist() == pytest.approx([1.0, 1.25, 1.1875])


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
@pytest.mark.parametrize(("kind", "weight"), [("AvgPool2d", 1.0), ("SumPool2d", 4.0)])
def test_pools_by_hand(kind, weight):
    """Four pixels of a block in step 0 add up to 4 (sum) or 1 (average); a threshold between tells them apart."""
    size = np.array([2, 2])
    pool = getattr(nir, kind)(size, size, np.array([0, 0]))
    nodes = pool, nir.Flatten({"input": np.array([1, 1, 1])}), nir.Linear(np.array([[1.0]])), integrate(1, weight - 0.1)
    layer = from_nir(chain(*nodes, shape=(1, 2, 2)), 2)
    fired = layer(SpikeTimes(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), 2))
    assert fired.times.tolist() == [[0]]
    assert torch.allclose(layer[0].weight, torch.tensor([[weight]]))


def test_a_readout_alone_fires_never_and_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(chain(affine([[1, 1]], [0]), nir.I(np.ones(1))), 4)


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
def test_a_directly_coded_layer_takes_the_maps_that_the_graph_flattens():
    flatten = nir.Flatten({"input": np.array([1, 1, 2])}, start_dim=0)
    layers = from_nir(chain(flatten, affine([[1, 1]], [0]), integrate(1), shape=(1, 1, 2)), 4, encoder="direct")
    assert layers(torch.ones(3, 1, 1, 2)).shape == (3, 1)


def test_kernels_that_are_not_square_come_back_from_a_file(tmp_path):
    """nir 1.0.8 infers a wrong output for them, so its type check is left out (docs/howto/other-libraries.md)."""
    model, x = net("4C3x1-4C1x3s2-3"), torch.rand(10, 2, 8, 8)
    nir.write(tmp_path / "net.nir", to_nir(model))
    again = from_nir(tmp_path / "net.nir")
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_layers_that_occur_twice_and_chains_within_chains_are_written():
    twice, last = nn.TTFSLinear(8, 8, steps=4), nn.TTFSLinear(8, 3, steps=4)
    nested = torch.nn.Sequential(torch.nn.Sequential(twice, twice), torch.nn.Identity(), last)
    graph = to_nir(nested)
    assert [name for name in graph.nodes if name.endswith("neurons")] == [f"layer{n}_neurons" for n in range(3)]
    x = spikes(6, 8, steps=4)
    assert torch.equal(from_nir(graph)(x).times, nested(x).times)


@pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce")
@pytest.mark.parametrize("profile", ["generic8", "loihi-like"])
def test_whole_weights_fire_above_the_threshold_on_cores_too(profile):
    draw = np.random.default_rng(0)
    weights = [draw.integers(-1, 2, (20, 12)).astype(float), draw.integers(-2, 3, (5, 20)).astype(float)]
    nodes = [nir.Linear(weights[0]), integrate(20, 2.0), nir.Linear(weights[1]), integrate(5, 1.0)]
    model = torch.nn.Sequential(*from_nir(chain(*nodes, shape=(12,)), 6), nn.FirstSpike()).eval()
    x = spikes(200, 12)
    ran = emulator.run(emulator.quantize(model, profile), x, trace=200)
    for n, expected in enumerate((model[0](x), model[1](model[0](x)))):
        times, start = ran.trace[f"times.{n}"].astype(int), ran.program.layers[n].start
        assert (np.where(times == 255, 255, times - start) == expected.times.numpy()).all()


def test_scaling_of_images_and_metadata_travel_with_the_graph(tmp_path):
    model = net("4C3-5")
    model.normalize = nn.Normalize([0.25, 0.5], [0.5, 2.0])
    nir.write(tmp_path / "net.nir", to_nir(model))
    again, x = from_nir(str(tmp_path / "net.nir")), torch.randint(0, 256, (10, 2, 8, 8), dtype=torch.uint8)
    assert torch.equal(again(x), model(x)) and again.normalize.mean.tolist() == [0.25, 0.5]
