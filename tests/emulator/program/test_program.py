"""Programs: their inputs in the order of the cores, images of another size, and layers that do not follow from one another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes, models, nn
from firstspike import emulator as em
from firstspike.emulator.program.host import Encoder, Readout

from ..nets import changed, images, net


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_images_are_scaled_as_in_the_net(encoder, tmp_path):
    model = net(encoder=encoder)
    x, plain = (images(model) * 255).to(torch.uint8), em.quantize(model)
    np.testing.assert_array_equal(plain.input_times(x), plain.input_times(x.float() / 255))
    model.normalize = nn.Normalize((0.0, 0.0), (1.5, 2.0)) if encoder == "latency" else nn.Normalize((0.3, 0.4), (0.2, 0.5))
    plain, program = (em.quantize(one, first_layer="float") for one in (net(encoder=encoder), model))
    for one in (program, em.load(em.save(program, tmp_path / "scaled.program"))):
        for given in (x, x.float() / 255):
            np.testing.assert_array_equal(one.input_times(given), plain.input_times(model.normalize(x)))


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (net(), [(2, 8, 8)]),
        (net(encoder="latency"), [(2, 8, 8)]),
        (net("4C3s2-5"), [(2, 8, 8)]),
        (models.mlp("128-20-5", input_shape=(2, 8, 8), steps=6), [(2, 8, 8), (128,)]),
        (net("30-20-5"), [(30,)]),
    ],
)
def test_images_of_another_size_are_refused(model, sizes):
    program = em.quantize(model)
    for size in sizes:
        assert len(em.run(program, torch.rand(3, *size)).predictions) == 3
    for size in ((2, 5, 5), (2, 6, 8), (2, 9, 9), (1, 8, 8), (5,)):
        with pytest.raises(ValueError, match="images must have"):
            em.run(program, torch.rand(3, *size))


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_a_flat_program_knows_the_order_of_its_values(encoder, tmp_path):
    model = models.mlp("48-20-5", input_shape=(3, 4, 4), steps=6, encoder=encoder)
    program, x = em.quantize(model), torch.rand(3, 3, 4, 4)
    for one in (program, em.load(em.save(program, tmp_path / "program.safetensors"))):
        with pytest.raises(ValueError, match=r"images must have shape \(3, 4, 4\), or 48 values in a row"):
            em.run(one, x.permute(0, 2, 3, 1))
        expected = em.run(one, x).predictions
        for same in (x.flatten(1), x.double()):
            np.testing.assert_array_equal(em.run(one, same).predictions, expected)
    if encoder == "latency":
        times = model.encoder(x).times.contiguous().flatten(1).numpy()
        np.testing.assert_array_equal(program.input_times(x), times)
        np.testing.assert_array_equal(program.input_times(model.encoder(x)), times)


def test_a_program_of_maps_takes_no_flat_spikes():
    """Their order is not known: torch's has channels first, the program's has them last."""
    program = em.quantize(models.build("4C3-6", input_shape=(2, 4, 4), steps=5, encoder="spikes"), "generic8")
    times = torch.randint(0, 5, (3, 2, 4, 4), dtype=torch.uint8)
    assert em.run(program, SpikeTimes(times, 5)).predictions.shape == (3,)
    for wrong in (times.flatten(1), times.transpose(1, 2), times[:, :, :, :3]):
        with pytest.raises(ValueError, match=r"spikes must have shape \[batch, 2, 4, 4\], got"):
            em.run(program, SpikeTimes(wrong.contiguous(), 5))


def test_a_net_of_windows_is_read_by_its_last_membrane():
    program = em.quantize(models.build("30-20-5", input_shape=(30,), steps=6, timing="windowed").eval())
    for changes in (
        {"readout": Readout(kind="membrane", mode="mean")},
        {"layers": program.layers[:-1], "readout": Readout(kind="first-spike")},
        {"layers": program.layers[:-1]},
    ):
        with pytest.raises(ValueError, match="^readout"):
            program.replace(**changes)


def test_layers_encoder_and_readout_must_fit():
    program = em.quantize(net(bias=False), "loihi-like")
    first, *others = program.layers
    for field, value in (
        ("layers", []),
        ("layers", [changed(first, start=3), *others]),
        ("layers", [*others[1:], first]),
        ("readout", Readout(kind="first-spike")),
        ("readout", program.readout.replace(classes=3)),
        ("encoder", Encoder(kind="direct-linear", weight=np.ones((4, 9), np.float32))),
    ):
        with pytest.raises(ValueError, match=rf"^{field}"):
            program.replace(**{field: value})
