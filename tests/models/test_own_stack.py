"""`models.TTFSNet` of one's own layers, nets on spikes, nets without a firing layer, settings that change, odd input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from firstspike import SpikeTimes, decode, models
from firstspike import nn as layers

from ..samples import generator, spike_times

STEPS = 6


def build(spec: str = "36-20-4", **options: Any) -> models.TTFSNet:
    return models.build(spec, input_shape=(1, 6, 6), steps=STEPS, generator=generator(0), **options)


def x(batch: int = 5) -> torch.Tensor:
    return torch.rand(batch, 1, 6, 6, generator=generator(1))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("36-20-4", {}),
        ("4C3-AP2-12-4", {"readout": "first-spike"}),
        ("36-20-4", {"encoder": "latency", "readout": "twd-exp", "population": 1}),
    ],
)
def test_own_layers_are_what_build_makes(spec: str, options: dict[str, Any]) -> None:
    net = build(spec, **options)
    readout: Any = net.readout if "twd" in options.get("readout", "") else options.get("readout", "membrane")
    own = models.TTFSNet(net.layers, encoder=options.get("encoder", "direct"), readout=readout, input_shape=(1, 6, 6))
    assert torch.equal(own(x()), net(x())) and own.steps == STEPS and own.flat == net.flat and own.spec == ""
    assert len(own.observe(x()).layers) == len(net.observe(x()).layers)
    assert torch.equal(models.prepare_for_inference(own)(x()), net.eval()(x()))
    with pytest.raises(ValueError, match="firstspike.save stores it"):
        own.config()


def wrong(stack: Any, **options: Any) -> Any:
    return lambda: models.TTFSNet(stack, **{"encoder": "direct", "readout": "membrane", "input_shape": (4,), **options})


def hidden(steps: int = 8) -> layers.DirectLinear:
    return layers.DirectLinear(4, 3, steps=steps)


def last(steps: int = 8) -> layers.Integrate:
    return layers.Integrate(3, 2, steps=steps)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (wrong(3), TypeError, "layers must be modules in order, got 3 of type int"),
        (wrong([hidden(), "last"]), TypeError, "layers must be modules in order, got str"),
        (wrong([]), ValueError, r"layers must be at least one of firstspike.nn, all of the same steps, got \[\]"),
        (wrong([hidden(8), last(9)]), ValueError, r"all of the same steps, got \[8, 9\]"),
        (wrong([hidden(), last()], encoder="rate"), ValueError, "encoder must be one of direct"),
        (wrong([hidden(), last()], encoder=3), TypeError, "encoder must be a name or a module, got int"),
        (wrong([hidden(), last()], readout="rate"), ValueError, "readout must be one of membrane"),
        (wrong([hidden(), last()], readout=nn.Identity()), TypeError, "readout must be a name or a readout"),
        (wrong([hidden(), last()], readout="twd-exp"), ValueError, "got TemporalWeighting after Integrate"),
        (wrong([hidden()]), ValueError, "readout must be a membrane readout just where the last layer is nn.Integrate"),
        (wrong([hidden(), last()], input_shape=(1, 2)), ValueError, "input_shape must be"),
    ],
)
def test_what_does_not_fit(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("spec", ["36-20-4", "3C3-AP2-12-4"])
def test_spikes_as_data(spec: str) -> None:
    net, coded = build(spec, encoder="spikes"), build(spec, encoder="latency")
    spikes = coded.encoder(x())
    assert torch.equal(net(spikes), coded(x())) and torch.equal(coded(spikes), coded(x()))
    assert torch.equal(models.prepare_for_inference(net)(spikes), net.eval()(spikes))
    assert models.from_config(net.config()).config()["encoder"] == "spikes"
    with pytest.raises(TypeError, match="x must be SpikeTimes"):
        net(x())
    with pytest.raises(ValueError, match=r"x must have steps = 6, got 7; x.rescale\(6\) changes them"):
        net(SpikeTimes(spikes.times, 7))
    with pytest.raises(ValueError, match="x must have shape"):
        net(SpikeTimes(spike_times((2, 1, 5, 6), STEPS, "mixed", generator(0)), STEPS))
    with pytest.raises(TypeError, match="x must be images: the first layer is directly coded, got SpikeTimes"):
        build(spec)(spikes)


@pytest.mark.parametrize("readout", ["membrane", "membrane-mean"])
def test_a_net_without_a_firing_layer(readout: str) -> None:
    net = build("36-4", encoder="latency", readout=readout)
    seen = net.observe(x())
    assert seen.layers == [] and seen.spikes_per_neuron().shape == (0,) and seen.spikes().tolist() == [0] * 5
    seen.scores.sum().backward()
    assert torch.equal(models.prepare_for_inference(net)(x()), net.eval()(x()))


def test_a_net_in_training_reads_ties_off_its_own_pass() -> None:
    """The overshoot that breaks ties is that of the spikes that were not dropped, with the larger weight."""
    net = build("36-20-4", readout="first-spike", dropout=0.5)
    net.train()
    torch.manual_seed(0)
    scores = net(x())
    torch.manual_seed(0)
    before = net.layers[0](net._encoded(x()))
    spikes, weight, bias = net.layers[1].prepare_input(before)
    membrane = layers.TTFSLinear(20, 4, steps=STEPS, affine=None)
    with torch.no_grad():
        membrane.weight.copy_(weight)
        membrane.bias.copy_(bias)
    output = membrane(spikes)
    over = decode.overshoot(output, membrane.membrane(spikes))
    torch.testing.assert_close(scores, net.readout(output, over))


class Later(torch.nn.Module):
    """An encoder of one's own: every spike one step later, over one step more."""

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        times = torch.where(spikes.times == 255, spikes.times, spikes.times + 1)
        return SpikeTimes(times, spikes.steps + 1)


def test_an_encoder_of_ones_own_gets_spikes() -> None:
    spikes = SpikeTimes(torch.randint(0, 5, (7, 1, 6, 6), dtype=torch.uint8), 5)
    stack = [layers.TTFSLinear(36, 12, steps=6), layers.Integrate(12, 4, steps=6)]
    net, plain = (
        models.TTFSNet(stack, encoder=encoder, readout="membrane", input_shape=(1, 6, 6))
        for encoder in (Later(), "spikes")
    )
    assert torch.equal(net(spikes), plain(Later()(spikes)))
    assert torch.equal(net.observe(spikes).scores, net(spikes))
    with pytest.raises(ValueError, match=r"x must have shape \[batch, 1, 6, 6\]"):
        net(SpikeTimes(torch.zeros(2, 1, 5, 5, dtype=torch.uint8), 5))
    coded = models.TTFSNet(stack, encoder="latency", readout="membrane", input_shape=(1, 6, 6))
    assert torch.equal(coded(Later()(spikes)), plain(Later()(spikes)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_odd_pixels_are_refused(value: float, encoder: str) -> None:
    batch = x()
    batch[2, 0, 3, 1] = value
    with pytest.raises(ValueError, match=r"x must be finite, got (nan|inf) at \(2, 0, 3, 1\)"):
        build(encoder=encoder)(batch)
    large = torch.full((2, 1, 6, 6), 3e38)  # its sum is not finite
    assert build()(large).shape == (2, 4)


@pytest.mark.parametrize(
    ("readout", "counts"), [("membrane", False), ("membrane-mean", True), ("membrane-weighted", True)]
)
def test_which_readouts_count_the_times_of_the_last_hidden_layer(readout: str, counts: bool) -> None:
    """What the docstrings of `build` and `decode.membrane` say."""
    net = build(readout=readout)
    fired = net.layers[0](net._encoded(x()))
    other = torch.randint(0, STEPS, fired.shape, generator=generator(2)).to(torch.uint8)
    moved = SpikeTimes(torch.where(fired.silent, fired.times, other), STEPS)
    one, two = (net.readout(net.layers[1](spikes)) for spikes in (fired.detach(), moved))
    assert torch.allclose(one, two, atol=1e-5) is not counts


class Shaped(torch.nn.Module):
    """Notes the shape that it gets, and passes it on as it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(x.shape)
        return x


def test_an_encoder_of_ones_own_gets_samples_as_they_are() -> None:
    encoder = Shaped()
    stack = [layers.DirectLinear(36, 12, steps=8), layers.Integrate(12, 4, steps=8)]
    net = models.TTFSNet(stack, encoder=encoder, readout="membrane", input_shape=(1, 6, 6))
    plain = models.TTFSNet(stack, encoder="direct", readout="membrane", input_shape=(1, 6, 6))
    assert torch.equal(net(x()), plain(x())) and encoder.seen == (5, 1, 6, 6)
