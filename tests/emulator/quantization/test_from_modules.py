"""What is read from a net: the host layer to the bit, leaky readouts, stacks of one's own, nets that take spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes, functional, models, nn
from firstspike import emulator as em
from firstspike.emulator.program import profile
from firstspike.emulator.program.inputs import input_times

from ..nets import images, net, wide


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8), (1, 28, 28)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_host_encoder_is_the_trained_layer_to_the_bit(shape, bias):
    """One function computes the current of both; compared are its bits and the times, for images in either format."""
    draw = torch.Generator().manual_seed(3)
    model = models.build("16C3-AP2-5", input_shape=shape, steps=8, bias=bias, generator=draw).eval()
    program = em.quantize(model, "generic8")
    x = torch.rand((64, *shape), generator=draw)
    seen = []
    original = functional.ramp
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(
            functional, "ramp", lambda current, *a, **k: (seen.append(current), original(current, *a, **k))[1]
        )
        for data in (x, x.contiguous(memory_format=torch.channels_last)):
            trained, host = model.layers[0](data), program.encoder.spikes(data, 8)
            assert torch.equal(trained.times, host.times)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])


@pytest.mark.parametrize("readout", ["membrane", "membrane-mean", "membrane-weighted"])
def test_a_leaky_readout_is_calibrated(readout):
    """The membrane that calibration widens is as wide as a leak admits."""
    model = net("30-20-5", encoder="latency", readout=readout, decay=0.9)
    x = images(model)
    program = em.quantize(model, "generic8", calibration=x)
    assert program.layers[-1].decay_bits and em.run(program, x).predictions.shape == (40,)
    narrow = em.quantize(model, profile.load("generic8").replace(membrane_bits=9, threshold_bits=8), calibration=x)
    raw = narrow.engine().run(input_times(narrow, x))
    assert np.abs(raw.membrane[-1]).max() <= 0.8 * 255


def test_a_net_without_a_layer_for_the_cores_is_refused():
    model = models.build("8-5", input_shape=(8,), steps=4, readout="first-spike").eval()
    with pytest.raises(em.CannotQuantize, match="no layer after its host layer"):
        em.quantize(model)


def own_stack(**options):
    """A stack of one's own layers, which no string of `models.build` describes."""
    draw = torch.Generator().manual_seed(4)
    return models.TTFSNet(
        [
            nn.TTFSConv2d(2, 6, (3, 2), steps=6, stride=(2, 1), padding=(1, 0), generator=draw),
            nn.TTFSLinear(6 * 4 * 7, 12, steps=6, threshold=torch.linspace(0.5, 2, 12), generator=draw),
            nn.Integrate(12, 4, steps=6, generator=draw),
        ],
        encoder=options.get("encoder", "spikes"),
        readout="membrane",
        input_shape=(2, 8, 8),
    ).eval()


def test_a_stack_of_ones_own_from_events_to_the_report():
    """Spikes in, per-neuron thresholds, rectangular kernels: the program is the float network, calibrated on spikes."""
    model = own_stack()
    draw = np.random.default_rng(0)
    times = torch.from_numpy(np.where(draw.random((50, 2, 8, 8)) < 0.5, 255, draw.integers(0, 6, (50, 2, 8, 8))))
    spikes = SpikeTimes(times.to(torch.uint8), 6)
    program = em.quantize(model, wide(), observer="max", calibration=spikes)
    assert program.encoder.kind == "spikes" and program.input_shape == (8, 8, 2)
    with torch.no_grad():
        seen = model.observe(spikes)
    raw = program.engine().run(input_times(program, spikes), all_times=True)
    for layer, mine, theirs in zip(program.layers, raw.times, seen.layers, strict=False):
        ours = mine.reshape(50, *layer.out_shape).transpose(0, 3, 1, 2).reshape(theirs.shape)
        assert (ours != theirs.times.numpy()).mean() < 0.01
    labels = torch.arange(50) % 4
    made = em.report(em.run(em.quantize(model, "loihi-like", calibration=spikes), spikes, labels=labels))
    assert made.summary()["host_macs_per_image"] == 0 and made.summary()["samples"] == 50
    with pytest.raises(ValueError, match="takes SpikeTimes, not images"):
        em.run(program, torch.rand(2, 2, 8, 8))


def test_an_encoder_of_ones_own_is_refused():
    with pytest.raises(em.CannotQuantize, match="encoder Dropout is not known; encode before"):
        em.quantize(own_stack(encoder=torch.nn.Dropout()))
