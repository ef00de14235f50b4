"""Nets whose modules do more than their classes of ours: what reads their tensors refuses them, or warns of hooks."""

import contextlib
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from firstspike import SpikeTimes, emulator, load, models, nir, save
from firstspike import nn as fs
from firstspike._base.modules import trained_parameters
from firstspike.inspect import Monitor, layer_signals

STEPS = 6


def silenced(spikes):
    return SpikeTimes(torch.full_like(spikes.times, 255), spikes.steps)


class Twice(nn.Sequential):
    def forward(self, x):
        return self[-1](super().forward(x))


class Silent(fs.TTFSLinear):
    def forward(self, *args, **kwargs):
        return silenced(super().forward(*args, **kwargs))


class Renamed(fs.TTFSLinear):
    """The same in all but its name."""


class Negated(fs.MembraneReadout):
    def forward(self, v):
        return -super().forward(v)


class Halved(fs.DirectLinear):
    def forward(self, x):
        return super().forward(x / 2)


def chain(hidden=None, first=None, readout=None):
    torch.manual_seed(0)
    return nn.Sequential(
        first or fs.DirectLinear(16, 8, steps=STEPS),
        hidden or fs.TTFSLinear(8, 8, steps=STEPS),
        fs.Integrate(8, 3, steps=STEPS),
        readout or fs.MembraneReadout(),
    ).eval()


def with_own_forward():
    net = chain()
    forward = net[1].forward
    net[1].forward = lambda x: silenced(forward(x))
    return net


class OwnNet(models.TTFSNet):
    def forward(self, x):
        return -super().forward(x)


def derived_net():
    net = models.as_net(chain())
    return OwnNet(net.layers, encoder=net.encoder, readout=net.readout, input_shape=(16,)).eval()


CHAINS = {
    "a chain": lambda: Twice(*chain()),
    "a chain in a chain": lambda: nn.Sequential(Twice(fs.DirectLinear(16, 8, steps=STEPS), fs.TTFSLinear(8, 8, steps=STEPS)),
                                                fs.Integrate(8, 3, steps=STEPS), fs.MembraneReadout()),
}  # fmt: skip
NETS = {
    "a layer": (lambda: chain(hidden=Silent(8, 8, steps=STEPS)), "layer 1:Silent"),
    "the layer on the host": (lambda: chain(first=Halved(16, 8, steps=STEPS)), "layer 0:Halved"),
    "a readout": (lambda: chain(readout=Negated()), "the readout"),
    "one object": (with_own_forward, "layer 1:TTFSLinear"),
    "a net": (derived_net, "the net"),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("reader", [models.as_net, emulator.quantize, emulator.check, nir.to_nir,
                                    models.prepare_for_inference])  # fmt: skip
def test_a_chain_with_a_forward_of_its_own_is_no_chain(name, reader):
    with pytest.raises(TypeError, match="must call its layers one after another, but Twice has a forward of its own"):
        reader(CHAINS[name]())


@pytest.mark.parametrize("name", NETS)
def test_a_part_with_a_forward_of_its_own(name, tmp_path):
    make, part = NETS[name]
    net = make()
    with pytest.raises(
        emulator.CannotQuantize, match=f"{part} has a forward of its own, which a program would not run"
    ):
        emulator.quantize(net)
    assert "has a forward of its own" in emulator.check(net).text()
    for reader in (nir.to_nir, lambda net: save(net, tmp_path / "net.safetensors")):
        with pytest.raises(
            TypeError, match=r"must be made of firstspike's layers, but \w+ at net.* has a forward of its own"
        ):
            reader(net)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [make for make, _ in NETS.values()])
def test_inference_calls_what_it_cannot_pack(make):
    net, x = make(), torch.rand(5, 16)
    assert torch.equal(models.prepare_for_inference(net)(x), net(x))


def test_a_derived_class_with_the_same_forward_is_read():
    net = chain(hidden=Renamed(8, 8, steps=STEPS))
    program = emulator.quantize(net)
    x = torch.rand(50, 16)
    agree = emulator.run(program, x).predictions == net(x).argmax(1).numpy()
    assert agree.mean() > 0.8


def test_a_compiled_net_is_the_net(tmp_path):
    net, x = chain(), torch.rand(5, 16)
    compiled = torch.compile(net, backend="eager")
    assert models.as_net(compiled).layers[0] is net[0]
    assert emulator.quantize(compiled).layers[0].weight.tolist() == emulator.quantize(net).layers[0].weight.tolist()
    assert nir.to_nir(compiled).nodes.keys() == nir.to_nir(net).nodes.keys()
    save(compiled, tmp_path / "compiled")
    save(net, tmp_path / "net")
    assert (tmp_path / "compiled").read_bytes() == (tmp_path / "net").read_bytes()
    assert torch.equal(models.prepare_for_inference(compiled)(x), net(x))


def test_hooks_are_warned_of():
    net, x = chain(), torch.rand(5, 16)
    handle = net[1].register_forward_hook(lambda module, args, output: silenced(output))
    with pytest.warns(UserWarning, match=r"layer 1:TTFSLinear has forward hooks, which a program leaves out") as seen:
        emulator.quantize(net)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match=r"net\.1 has forward hooks, which the graph leaves out") as seen:
        nir.to_nir(net)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="a program leaves out") as seen:
        emulator.check(net)
    assert {warning.filename for warning in seen} == {__file__}
    assert torch.equal(models.prepare_for_inference(net)(x), net(x))
    handle.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emulator.quantize(net)
        nir.to_nir(net)


@pytest.mark.parametrize("place", ["net", "net.0", "net.1"])
@pytest.mark.parametrize("reader", [models.as_net, models.prepare_for_inference, emulator.quantize, nir.to_nir])
def test_hooks_of_what_is_taken_out_are_warned_of_once(place, reader):
    net = nn.Sequential(nn.Sequential(*chain()[:2]), nn.Flatten(), *chain()[2:])
    net.get_submodule(place[4:]).register_forward_hook(lambda module, args, output: silenced(output))
    with pytest.warns(
        UserWarning, match=rf"(net|model){place[3:]} has forward hooks, which a TTFSNet of its layers leaves out"
    ) as seen:
        reader(net)
    assert [warning.filename for warning in seen] == [__file__]


def test_pruning_and_monitors_are_no_change():
    net, x = chain(), torch.rand(5, 16)
    prune.l1_unstructured(net[1], "weight", amount=0.5)
    net(x)
    with warnings.catch_warnings(), Monitor(net):
        warnings.simplefilter("error")
        program = emulator.quantize(net)
    assert (program.layers[0].weight == 0).sum() >= 32


def pruned():
    """A net whose weights torch makes of others before each call, and of others than in its last call."""
    net = chain()
    for layer in list(net)[:3]:
        prune.l1_unstructured(layer, "weight", amount=0.5)
    net(torch.rand(2, 16)).sum().backward()
    with torch.no_grad():
        for layer in list(net)[:3]:
            layer.weight_orig.neg_()
    return net


def parametrized():
    net = chain(hidden=fs.TTFSLinear(8, 8, steps=STEPS, normalization=True))
    for layer in list(net)[:3]:
        parametrizations.weight_norm(layer)
    return net


def with_norm(norm):
    def make():
        net = chain()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch advises parametrizations
            for layer in list(net)[:3]:
                norm(layer)
        return net

    return make


MAKERS = [pruned, parametrized, with_norm(nn.utils.weight_norm), with_norm(nn.utils.spectral_norm)]


@pytest.mark.parametrize("make", MAKERS)
def test_weights_that_torch_makes_in_each_call_are_read_as_the_next_call_has_them(make):
    net, x = make(), torch.rand(64, 16)
    program, graph, checked = emulator.quantize(net), nir.to_nir(net), emulator.check(net).text()
    ready = models.prepare_for_inference(net)
    with pytest.warns(UserWarning, match="model is pruned") if make is pruned else contextlib.nullcontext():
        qat = emulator.qat.prepare(net)
    scores = net(x)
    assert torch.equal(ready(x), scores) and torch.equal(nir.from_nir(graph)(x), scores)
    assert (emulator.run(program, x).predictions == scores.argmax(1).numpy()).mean() > 0.8
    assert checked == emulator.check(chain()).text()
    assert (qat(x).argmax(1) == scores.argmax(1)).float().mean() > 0.8
    assert torch.equal(net(x), scores)  # the net is what it was
    assert "weight" not in dict(net[1].named_parameters())


@pytest.mark.parametrize("make", MAKERS)
def test_folding_ends_what_torch_makes_in_each_call(make):
    net, x = make(), torch.rand(64, 16)
    scores = net(x).detach()
    for layer in list(net)[:3]:
        layer.fold()
        assert "weight" in dict(layer.named_parameters())
    assert torch.equal(net(x), scores)
    assert type(net[1]) is fs.TTFSLinear


def test_a_pruned_net_is_saved_when_its_masks_are_permanent(tmp_path):
    net, x = pruned(), torch.rand(5, 16)
    with pytest.raises(TypeError, match=r"got net\.0\.weight_orig; make permanent .* as prune\.remove"):
        save(net, tmp_path / "net")
    with pytest.raises(TypeError, match="parametrizations"):
        save(parametrized(), tmp_path / "net")
    assert not list(tmp_path.iterdir())
    for layer in list(net)[:3]:
        prune.remove(layer, "weight")
    save(net, tmp_path / "net")
    assert torch.equal(load(tmp_path / "net")(x), net(x))


@pytest.mark.parametrize("make", MAKERS)
def test_gradients_and_names_of_layers_whose_weights_torch_makes(make):
    net, x, names = make(), torch.rand(5, 16), ["DirectLinear", "TTFSLinear", "Integrate"]
    with Monitor(net) as seen:
        net(x).sum().backward()
    table = seen.table()
    assert table["kind"].tolist() == names and table["gradient"].notna().all() and table["gradient"].iloc[-1] > 0
    rows = layer_signals(models.as_net(net), x, torch.tensor([0, 1, 2, 0, 1]))
    assert [row["layer"] for row in rows] == names and None not in [row["gradient"] for row in rows]


def test_the_parameters_that_are_trained():
    plain, masked, normed = chain(), pruned(), parametrized()
    assert trained_parameters(plain[1], "weight") == [plain[1].weight]
    assert trained_parameters(masked[1], "weight") == [masked[1].weight_orig]
    made = normed[1].parametrizations.weight
    assert trained_parameters(normed[1], "weight") == [made.original0, made.original1]
    assert trained_parameters(fs.MembraneReadout(), "weight") == []
