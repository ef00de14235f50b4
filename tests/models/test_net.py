"""A net's forward pass, what `observe` tells of it, and how it lives with the rest of torch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, decode, inspect, models
from firstspike import nn as fs
from firstspike.models import TTFSNet
from firstspike.surrogate import atan

from ..samples import generator

NETS: dict[str, dict[str, Any]] = {
    "mlp": {"spec": "36-20-16-4"},
    "mlp atan": {"spec": "36-20-16-4", "surrogate": atan()},
    "mlp latency": {"spec": "36-20-16-4", "encoder": "latency", "readout": "membrane-mean"},
    "mlp twd": {"spec": "36-20-4", "readout": "twd-exp", "population": 3},
    "one layer": {"spec": "36-4", "readout": "first-spike"},
    "cnn": {"spec": "4C3-AP2-6C3-AP3-12-4"},
    "cnn earliest": {"spec": "4C3-EP2-6C3-AP3-12-4", "readout": "first-spike", "population": 2},
    "cnn max": {"spec": "6C3-MP2-8C3-MP2-24-4", "affine": "layer"},
}
STEPS = 5


def build(name: str = "mlp", seed: int = 4, **options: Any) -> TTFSNet:
    """One of the nets above."""
    return models.build(input_shape=(1, 6, 6), steps=STEPS, generator=generator(seed), **{**NETS[name], **options})


def of_string(spec: str = "36-20-4", **options: Any) -> TTFSNet:
    """A small net of another string."""
    return models.build(spec, input_shape=(1, 6, 6), steps=STEPS, generator=generator(0), **options)


def images(batch: int = 7, seed: int = 1) -> Tensor:
    """Images in [0, 1]."""
    return torch.rand(batch, 1, 6, 6, generator=generator(seed))


def gradients(net: torch.nn.Module, scores: Tensor) -> list[Tensor]:
    """Gradients of all parameters for random gradients of the scores."""
    return list(torch.autograd.grad(scores, list(net.parameters()), torch.randn(scores.shape, generator=generator(2))))


@pytest.mark.parametrize("name", NETS)
def test_observe_sees_what_forward_does(name: str) -> None:
    net, x = build(name), images()
    scores, seen = net(x), net.observe(x)
    assert torch.equal(seen.scores, scores)
    for one, other in zip(gradients(net, scores), gradients(net, seen.scores), strict=True):
        assert torch.equal(one, other)
    assert len(seen.layers) == sum(hasattr(layer, "threshold") for layer in net.layers)
    assert seen.spikes_per_neuron().shape == (len(seen.layers),)
    assert torch.equal(seen.spikes(), sum(layer.count() for layer in seen.layers))
    shares = seen.spikes_per_neuron().tolist()
    expected = sum(share * layer.times.numel() for share, layer in zip(shares, seen.layers, strict=True))
    assert seen.spikes().sum().item() == pytest.approx(expected)


@pytest.mark.parametrize("name", NETS)
def test_decisions(name: str) -> None:
    net, x = build(name), images(40)
    seen = net.observe(x)
    if seen.membrane is None:
        out = seen.layers[-1]
        assert torch.equal(seen.decision_step, decode.decision_step(out))
        assert torch.equal(seen.silent, out.silent.all(1))
        assert torch.equal(seen.ties, decode.ties(out, 4))
    else:
        assert seen.membrane.shape == (STEPS, 40, 4)
        mode = net.readout.mode
        torch.testing.assert_close(decode.membrane(seen.membrane, mode), seen.scores)
        assert torch.equal(seen.decision_step, decode.settled_step(decode.running_membrane(seen.membrane, mode)))
        assert not seen.ties.any() and not seen.silent.any()
    assert seen.decision_step.unique().numel() > 1 or name == "one layer"


def test_max_pools_report_their_repeated_spikes() -> None:
    net, x = build("cnn max"), images()
    seen = net.observe(x)
    dense = seen.layers[0].dense()
    pooled = torch.nn.functional.max_pool2d(dense.flatten(0, 1), 2).unflatten(0, dense.shape[:2]).sum(0)
    assert seen.repeated.shape == seen.units.shape == (2,)
    assert seen.repeated[0] == (pooled > 1).sum() > 0
    assert seen.units.tolist() == [pooled.numel(), 7 * 8]
    before = seen.repeated.clone()
    net(x * 0)
    assert torch.equal(seen.repeated, before)
    assert build("cnn").observe(x).repeated.shape == (0,)


def test_max_pools_that_are_shared_or_inside_others_report_every_call() -> None:
    def net(first: torch.nn.Module, second: torch.nn.Module) -> models.TTFSNet:
        torch.manual_seed(0)
        layers = [
            fs.DirectConv2d(1, 4, 3, padding=1, steps=6), first,
            fs.TTFSConv2d(4, 4, 3, padding=1, steps=6), second,
            fs.Integrate(16, 3, steps=6),
        ]  # fmt: skip
        return models.TTFSNet(layers, encoder="direct", readout="membrane", input_shape=(1, 8, 8))

    x, shared = torch.rand(5, 1, 8, 8, generator=generator(0)), fs.MaxPool2d(2)
    expected = net(fs.MaxPool2d(2), fs.MaxPool2d(2)).observe(x)
    assert expected.units.tolist() == [5 * 4 * 16, 5 * 4 * 4] and expected.repeated[0] > 0
    for seen in (net(shared, shared).observe(x), net(torch.nn.Sequential(shared), fs.MaxPool2d(2)).observe(x)):
        assert torch.equal(seen.repeated, expected.repeated) and torch.equal(seen.units, expected.units)


COMPILED = [(name, "aot_eager") for name in ("mlp atan", "mlp latency", "mlp twd", "cnn earliest", "cnn max")]
COMPILED.append(pytest.param("cnn", "inductor", marks=pytest.mark.slow))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "backend"), COMPILED)
def test_compile_fullgraph(name: str, backend: str) -> None:
    torch.compiler.reset()
    net, x = build(name), images()
    scores = net(x)
    got = torch.compile(net, fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(got, scores, rtol=1e-4, atol=1e-4)
    for one, other in zip(gradients(net, scores), gradients(net, got), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(name: str, batch: int) -> None:
    net = build(name)
    seen = net.observe(images(batch))
    assert seen.scores.shape == (batch, 4) and seen.decision_step.shape == (batch,)
    seen.scores.sum().backward()


@pytest.mark.parametrize("inner", ["residual", "sequential"])
def test_layers_within_others_are_observed_as_well(inner: str) -> None:
    parts = [fs.TTFSConv2d(4, 4, 3, padding=1, steps=5) for _ in range(2)]
    block = {"residual": fs.Residual, "sequential": lambda p: torch.nn.Sequential(*p)}[inner]
    layers = [fs.DirectConv2d(1, 4, 3, padding=1, steps=5), block(parts), fs.Integrate(4 * 36, 3, steps=5)]
    net = models.TTFSNet(layers, encoder=torch.nn.Identity(), readout=fs.MembraneReadout("last"), input_shape=(1, 6, 6))
    x = torch.rand(2, 1, 6, 6)
    with inspect.Monitor(net) as seen:
        observed = net.observe(x)
    expected = [s for name, s in seen.times.items() if isinstance(net.get_submodule(name), fs.FiringLayer)]
    assert len(observed.layers) == len(expected) == 3
    assert all(torch.equal(a.times, b.times) for a, b in zip(observed.layers, expected, strict=True))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_last_layer_of_another_kind_is_observed() -> None:
    class First(torch.nn.Module):
        def forward(self, spikes: SpikeTimes) -> SpikeTimes:
            return spikes[:, :4]

    layers = [fs.DirectLinear(6, 8, steps=5), First()]
    net = models.TTFSNet(layers, encoder=torch.nn.Identity(), readout="first-spike", input_shape=(6,))
    assert [spikes.shape for spikes in net.observe(torch.rand(2, 6)).layers] == [(2, 8), (2, 4)]


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_pixels_and_scaling(encoder: str) -> None:
    """uint8 images count as p / 255; `normalize` comes first and is a part of the net."""
    pixels = torch.randint(0, 256, (7, 1, 6, 6), dtype=torch.uint8, generator=generator(1))
    net, x = build("cnn", encoder=encoder), pixels.to(torch.float32) / 255
    assert torch.equal(net(pixels), net(x)) and torch.equal(net.observe(pixels).scores, net(x))
    plain = copy.deepcopy(net)
    net.normalize = fs.Normalize([-0.5], [2.0])
    assert torch.equal(net(pixels), plain((x + 0.5) / 2)) and "normalize.mean" in net.state_dict()
    assert torch.equal(models.prepare_for_inference(net)(pixels), net.eval()(pixels))
    relu = models.relu_counterpart("36-12-4", input_shape=(1, 6, 6))
    before = relu((x + 0.5) / 2)
    relu.normalize = net.normalize
    assert torch.equal(relu(pixels), before)


def test_other_memory_formats_flat_images_and_large_values() -> None:
    net, x = build("cnn"), images()
    assert torch.equal(net(x.transpose(2, 3).contiguous().transpose(2, 3)), net(x))
    assert torch.equal(build()(x), build()(x.flatten(1)))
    assert build()(torch.full((2, 1, 6, 6), 3e38)).shape == (2, 4)  # their sum is not finite


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("36-20-4", {}),
        ("4C3-AP2-12-4", {"readout": "first-spike"}),
        ("36-20-4", {"encoder": "latency", "readout": "twd-exp", "population": 1}),
    ],
)
def test_a_net_of_layers_is_what_build_makes(spec: str, options: dict[str, Any]) -> None:
    net = of_string(spec, **options)
    readout: Any = net.readout if "twd" in options.get("readout", "") else options.get("readout", "membrane")
    other = models.TTFSNet(net.layers, encoder=options.get("encoder", "direct"), readout=readout, input_shape=(1, 6, 6))
    assert torch.equal(other(images()), net(images()))
    assert (other.steps, other.flat, other.spec) == (STEPS, net.flat, "")
    assert len(other.observe(images()).layers) == len(net.observe(images()).layers)
    assert torch.equal(models.prepare_for_inference(other)(images()), net.eval()(images()))


@pytest.mark.parametrize("spec", ["36-20-4", "3C3-AP2-12-4"])
def test_spikes_as_data(spec: str) -> None:
    net, coded = of_string(spec, encoder="spikes"), of_string(spec, encoder="latency")
    spikes = coded.encoder(images())
    assert torch.equal(net(spikes), coded(images())) and torch.equal(coded(spikes), coded(images()))
    assert torch.equal(models.prepare_for_inference(net)(spikes), net.eval()(spikes))
    assert models.from_config(net.config()).config()["encoder"] == "spikes"


@pytest.mark.parametrize("readout", ["membrane", "membrane-mean"])
def test_a_net_without_a_firing_layer(readout: str) -> None:
    net = of_string("36-4", encoder="latency", readout=readout)
    seen = net.observe(images())
    assert seen.layers == [] and seen.spikes_per_neuron().shape == (0,) and seen.spikes().tolist() == [0] * 7
    seen.scores.sum().backward()
    assert torch.equal(models.prepare_for_inference(net)(images()), net.eval()(images()))
    windowed = of_string("36-4", timing="windowed")
    assert windowed.latency == 0 and windowed.observe(images()).decision_step.tolist() == [0] * 7


def test_a_net_in_training_reads_ties_off_its_own_pass() -> None:
    """The overshoot that breaks ties is that of the spikes that were not dropped, with the larger weight."""
    net = of_string("36-20-4", readout="first-spike", dropout=0.5)
    net.train()
    torch.manual_seed(0)
    scores = net(images())
    torch.manual_seed(0)
    before = net.layers[0](net._encoded(images()))
    weight, bias = net.layers[1].effective_weight_and_bias()
    spikes, weight = net.layers[1].drop(before, weight)
    membrane = fs.TTFSLinear(20, 4, steps=STEPS, affine=None)
    with torch.no_grad():
        membrane.weight.copy_(weight)
        membrane.bias.copy_(bias)
    output = membrane(spikes)
    over = decode.overshoot(output, membrane.membrane(spikes))
    torch.testing.assert_close(scores, net.readout(output, over))


class Later(torch.nn.Module):
    """A custom encoder: every spike one step later, over one step more."""

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        times = torch.where(spikes.times == 255, spikes.times, spikes.times + 1)
        return SpikeTimes(times, spikes.steps + 1)


def test_a_custom_encoder_gets_spikes() -> None:
    spikes = SpikeTimes(torch.randint(0, 4, (7, 1, 6, 6), dtype=torch.uint8), 4)
    stack = [fs.TTFSLinear(36, 12, steps=STEPS), fs.Integrate(12, 4, steps=STEPS)]
    net, plain = (
        models.TTFSNet(stack, encoder=encoder, readout="membrane", input_shape=(1, 6, 6)) for encoder in (Later(), "spikes")
    )
    assert torch.equal(net(spikes), plain(Later()(spikes)))
    assert torch.equal(net.observe(spikes).scores, net(spikes))
    coded = models.TTFSNet(stack, encoder="latency", readout="membrane", input_shape=(1, 6, 6))
    assert torch.equal(coded(Later()(spikes)), plain(Later()(spikes)))


@pytest.mark.parametrize(("readout", "counts"), [("membrane", False), ("membrane-mean", True), ("membrane-weighted", True)])
def test_which_readouts_count_the_times_of_the_last_hidden_layer(readout: str, counts: bool) -> None:
    """What the docstrings of `build` and `decode.membrane` say."""
    net = of_string(readout=readout)
    fired = net.layers[0](net._encoded(images()))
    other = torch.randint(0, STEPS, fired.shape, generator=generator(2)).to(torch.uint8)
    moved = SpikeTimes(torch.where(fired.silent, fired.times, other), STEPS)
    one, two = (net.readout(net.layers[1](spikes)) for spikes in (fired.detach(), moved))
    assert torch.allclose(one, two, atol=1e-5) is not counts
