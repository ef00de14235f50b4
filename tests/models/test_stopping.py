"""Nets that stop before their last step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import firstspike
from firstspike import SpikeTimes, decode, models, nn

READOUTS = ["membrane", "membrane-mean", "membrane-weighted", "twd-exp", "twd-linear", "first-spike"]


def drawn(net, seed=0):
    """The net with gammas and biases away from their first values, in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("bias", "gamma")):
                parameter += 0.2 * torch.randn(parameter.shape, generator=draw)
    return net.eval()


def step_net(spec="36-20-4", readout="membrane-mean", **options):
    draw = torch.Generator().manual_seed(0)
    options = {"steps": 6, "input_shape": (1, 6, 6)} | options
    return drawn(models.build(spec, readout=readout, generator=draw, **options))


def images(count=50):
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "direct"},
        {"encoder": "latency", "decay": 0.8, "synaptic_decay": 0.5},
        {"encoder": "direct", "spec": "4C3-AP2-R(4C3)-12-4", "normalization": True},
    ],
)
def test_a_net_that_stops_fires_and_answers_as_the_whole_one_until_then(readout, options):
    net, x = step_net(readout=readout, **options), images()
    running, whole = net.running(x), net.observe(x)
    assert len(running) == len(net.score_steps) == 6
    torch.testing.assert_close(running[-1], whole.scores)
    for steps, scores in zip(net.score_steps, running, strict=True):
        short = models.stop_after(net, steps)
        seen = short.observe(x)
        torch.testing.assert_close(seen.scores, scores)
        assert short.latency == seen.steps == steps and short.score_steps == range(1, steps + 1)
        for mine, theirs in zip(seen.layers, whole.layers, strict=True):
            assert mine == theirs.first(steps)


@settings(max_examples=25)
@given(st.data())
def test_a_net_of_windows_stops_within_its_last_window(data):
    spec = data.draw(st.sampled_from(["36-20-4", "36-4", "4C3-AP2-10-4", "4C3-R(6C3)-MP2-4", "5C3-R(5C3-5C3)-4"]))
    inputs, steps = data.draw(st.sampled_from([7, 255])), data.draw(st.sampled_from([1, 4, 16]))
    pooling = data.draw(st.sampled_from(["max", "earliest"]))
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    net = drawn(models.build(spec, steps=steps, input_shape=(1, 6, 6), timing="windowed", pooling=pooling, generator=draw))
    net.encoder = nn.WindowedEncoder(inputs)
    x, running = images(9), net.running(images(9))
    assert torch.equal(running[-1], net(x)) and net.score_steps[-1] == inputs + net.latency
    after = data.draw(st.sampled_from(net.score_steps))
    if not net.latency and after < inputs:
        with pytest.raises(ValueError, match="a hidden layer that integrates"):
            models.stop_after(net, after)
        return
    short = models.stop_after(net, after)
    assert short.input_steps + short.latency == after
    torch.testing.assert_close(short(x), running[after - net.score_steps[0]], rtol=1e-4, atol=1e-5)


def test_spikes_as_input_keep_their_times(tmp_path):
    net, x = step_net(encoder="spikes", input_shape=(36,)), images().flatten(1)
    spikes = nn.LatencyEncoder(6)(x)
    short = models.stop_after(net, 2)
    torch.testing.assert_close(short(spikes), net.running(spikes)[1])
    torch.testing.assert_close(models.stop_after(short, 1)(spikes), net.running(spikes)[0])
    firstspike.save(short, tmp_path / "net.safetensors")
    assert torch.equal(firstspike.load(tmp_path / "net.safetensors")(spikes), short(spikes))
    with pytest.raises(ValueError, match="steps = 6"):
        short(SpikeTimes(spikes.times, 7))
    by_image = models.stop_after(step_net(encoder="latency"), 2)
    assert torch.equal(by_image(x.view(-1, 1, 6, 6)), by_image(spikes.reshape(-1, 1, 6, 6)))


@pytest.mark.parametrize(("timing", "steps"), [("step", 0), ("step", 7), ("windowed", 255), ("windowed", 262)])
def test_no_more_steps_than_there_are(timing, steps):
    net = models.build("36-20-4", input_shape=(36,), steps=6, timing=timing)
    with pytest.raises(ValueError, match=f"steps must be from .* to .*, got {steps}"):
        models.stop_after(net, steps)


@given(st.integers(0, 99), st.floats(0.01, 4.0))
def test_a_sample_stops_at_the_first_clear_lead(seed, margin):
    scores = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(seed)).cumsum(0)
    found, steps = decode.stopped(scores, margin)
    for sample in range(8):
        leads = [(best - second).item() for best, second in scores[:, sample].topk(2).values]
        expected = next((k for k, lead in enumerate(leads) if lead >= margin), 4)
        assert steps[sample] == expected + 1 and torch.equal(found[sample], scores[expected, sample])
