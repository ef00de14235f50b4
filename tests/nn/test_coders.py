"""Encoders, decoders and the neuron as modules."""

from __future__ import annotations

import pytest
import torch

from firstspike import SpikeTimes, decode, encode, functional, nn
from firstspike.surrogate import rectangle

from ..samples import generator, spike_times

S = 255


def outputs(batch: int = 6, neurons: int = 12, steps: int = 5) -> SpikeTimes:
    """Output spikes, some silent."""
    return SpikeTimes(spike_times((batch, neurons), steps, "mixed", generator(0)), steps)


@pytest.mark.parametrize("curve", encode.CURVES)
def test_latency_encoder(curve: str) -> None:
    x = torch.rand(3, 4, generator=generator(0))
    encoder = nn.LatencyEncoder(9, curve)
    assert torch.equal(encoder(x).times, encode.latency(x, 9, curve).times)
    assert "steps=9" in repr(encoder) and encoder.settings() == {"steps": 9, "curve": curve, "code_steps": None}


@pytest.mark.parametrize("mode", decode.TEMPORAL_MODES)
def test_temporal_weighting(mode: str) -> None:
    spikes = outputs()
    scores = decode.temporal_weighting(spikes, gamma=1.3, mode=mode)
    assert torch.equal(nn.TemporalWeighting(1.3, mode)(spikes), scores)
    expected = 5 * decode.population(scores, 4)
    torch.testing.assert_close(nn.TemporalWeighting(1.3, mode, classes=4, scale=5.0)(spikes), expected)


@pytest.mark.parametrize("mode", decode.MEMBRANE_MODES)
def test_membrane_readout(mode: str) -> None:
    v = torch.randn(5, 6, 12, generator=generator(0))
    assert torch.equal(nn.MembraneReadout(mode)(v), decode.membrane(v, mode))
    readout = nn.MembraneReadout(mode, classes=4)
    torch.testing.assert_close(readout(v), decode.population(decode.membrane(v, mode), 4))
    torch.testing.assert_close(readout.running(v)[-1], readout(v))


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_first_spike_answers_as_its_function(scale: float) -> None:
    spikes = SpikeTimes(spike_times((200, 6), 3, "mixed", generator(0)), 3)
    spikes.times[:20] = S
    over = torch.randn(200, 6, generator=generator(1))
    over = torch.where(spikes.silent, -over.abs() - 0.01, over.abs())
    assert torch.equal(nn.FirstSpike(scale=scale)(spikes, over).argmax(1), decode.first_spike(spikes, over))
    assert torch.equal(nn.FirstSpike(classes=3)(spikes, over).argmax(1), decode.first_spike(spikes, over) // 2)


def test_first_spike_scores_by_hand() -> None:
    spikes = SpikeTimes(torch.tensor([[0, 3, S, S]], dtype=torch.uint8), 4)
    torch.testing.assert_close(nn.FirstSpike()(spikes), torch.tensor([[1.0, 0.25, 0.0, 0.0]]))
    torch.testing.assert_close(nn.FirstSpike(classes=2, scale=2.0)(spikes), torch.tensor([[2.0, 0.0]]))
    over = torch.tensor([[1.0, 0.0, -1.0, -3.0]])  # o / (1 + |o|) / 8 on top
    expected = torch.tensor([[1 + 0.5 / 8, 0.25, -0.5 / 8, -0.75 / 8]])
    torch.testing.assert_close(nn.FirstSpike()(spikes, over), expected)


def test_first_spike_overshoot_has_no_gradient() -> None:
    x = outputs().dense().requires_grad_()
    over = torch.zeros(6, 12, requires_grad=True)
    nn.FirstSpike()(SpikeTimes.from_dense(x), over).sum().backward()
    assert over.grad is None
    torch.testing.assert_close(x.grad[:, 0, 0], torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2]))


def test_node() -> None:
    node = nn.TTFSNode(threshold=0.7, decay=0.5, surrogate=rectangle(2.0))
    current = torch.randn(6, 3, 4, generator=generator(0)).requires_grad_()
    expected = functional.fire(current, threshold=0.7, decay=0.5, surrogate=rectangle(2.0))
    assert torch.equal(node(current), expected) and 0 < expected.sum() < 12
    grad = torch.randn(expected.shape, generator=generator(1))
    assert torch.equal(*(torch.autograd.grad(y, current, grad)[0] for y in (node(current), expected)))
    assert "threshold=0.7, decay=0.5" in repr(node)
