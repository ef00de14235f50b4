"""Residual blocks on the cores: the shortcut is one more synapse per neuron, and the program equals the float network."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator.program import nir, serialization

from .export.test_exporting import compiled
from .nets import RESIDUAL, images, net, wide
from .nets import changed as replaced


def residual(**options):
    return net(RESIDUAL[0], **options)


def test_a_shortcut_counts_as_a_weight():
    """It sets the scale where it is the largest, so that it is not clipped; on a chip with even weights it is even."""
    for name, step in (("generic8", 1), ("loihi-like", 2)):
        program = em.quantize(residual(), name)
        made = [(layer, layer.shortcut) for layer in program.layers if layer.shortcut is not None]
        assert [shortcut.source for _, shortcut in made] == [-1, 1, 3]
        for (layer, shortcut), real in zip(made, (0.9, -0.3, 0.6), strict=True):
            scale = layer.scale[: len(shortcut.weight)]
            np.testing.assert_allclose(shortcut.weight, real * layer.pool**2 / scale, atol=step / 2 + 1e-9)
            assert (shortcut.weight % step == 0).all() and np.abs(shortcut.weight).max() <= 128 * step
    loihi = [layer.shortcut for layer in program.layers if layer.shortcut is not None]
    assert [shortcut.delay for shortcut in loihi] == [2, 1, 2]  # as many as the block's layers
    assert [(shortcut.stride, len(shortcut.weight)) for shortcut in loihi] == [((1, 1), 4), ((4, 4), 6), ((1, 1), 10)]


def test_files_and_graphs_keep_it(tmp_path):
    model = residual()
    x = images(model)
    program = em.quantize(model, "loihi-like")
    expected = em.run(program, x)
    em.save(program, tmp_path / "net.program")
    for other in (em.load(tmp_path / "net.program"), nir.from_nir(nir.to_nir(program))):
        assert other.has_synapses_of(program)
        np.testing.assert_array_equal(em.run(other, x).counters, expected.counters)
    graph = nir.to_nir(program)
    assert {edge for edge in graph.edges if edge[1].endswith("shortcut")} == {
        ("input", "1.shortcut"),
        ("1.neurons", "2.shortcut"),
        ("3.neurons", "5.shortcut"),
    }
    graph.nodes["5.shortcut"].weight[0, 1] = 64
    with pytest.raises(serialization.ProgramError, match="the weight of its shortcut must be diagonal"):
        nir.from_nir(graph)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler `cc`")
def test_exported_c(tmp_path):
    model = residual(encoder="latency")
    made = em.export_c(em.quantize(model, "loihi-like"), tmp_path, samples=images(model, 10))
    status, text = compiled(tmp_path)
    assert status == 0 and "equal to the emulator: 10 of 10 samples" in text, text
    assert [path.name for path in made.files if "shortcut" in path.name] == [f"layer.{n}.shortcut.mem" for n in (2, 3, 6)]


def test_what_is_refused():
    model = residual(bias=False)
    with pytest.raises(em.DoesNotFit, match=r"layer 1.1:TTFSConv2d: shortcuts of residual blocks: required 1, available 0"):
        em.place(em.quantize(model, "speck-like"))
    found = em.check(model, "speck-like")
    assert {finding.remedy for finding in found.findings} == {"leave residual blocks out of spec"}
    assert em.check(residual(), "generic8").fits
    one_sign = em.profile.load("generic8").replace(weight_sign="source")
    with pytest.raises(em.CannotQuantize, match=r"layer (1\.\d|3):TTFS|a source has weights of both signs"):
        em.quantize(model, one_sign)


def test_a_block_at_the_end_breaks_ties_as_the_net_does():
    """By the lower class: the net's readout does not get the membrane of a block."""
    draw = torch.Generator().manual_seed(0)
    layers = [nn.TTFSLinear(6, 4, steps=3, generator=draw), nn.Residual([nn.TTFSLinear(4, 4, steps=3, generator=draw)])]
    model = models.TTFSNet(layers, encoder="latency", readout=nn.FirstSpike(), input_shape=(6,)).eval()
    x = images(model, 200)
    ran = em.run(em.quantize(model, wide(), observer="max"), x)
    assert ran.ties.sum() > 20
    np.testing.assert_array_equal(ran.predictions, model(x).argmax(1).numpy())


def test_shortcuts_that_do_not_fit_are_refused():
    program = em.quantize(residual(), "loihi-like")
    layer = program.layers[1]
    shortcut = layer.shortcut

    def changed(**values):
        layers = [*program.layers]
        layers[1] = replaced(layer, shortcut.replace(**values))
        made = program.replace(layers=layers)
        made.engine()
        return made

    for values, field in (
        ({"source": 1}, "layers: .* got source 1"),
        ({"in_shape": (8, 8, 3), "weight": np.ones(3, np.int64)}, "layer 1.1:TTFSConv2d: .* source"),
        ({"stride": (2, 1)}, "layer 1.1:TTFSConv2d: .*row"),
        ({"stride": (0, 1)}, r"stride\[0\]"),
        ({"weight": np.ones(3, np.int64)}, "layer 1.1:TTFSConv2d: .* weight"),
        ({"weight": np.ones(4)}, "weight"),
        ({"delay": 1}, "layers: steps 2 to 8"),
    ):
        with pytest.raises(ValueError, match=f"^{field}"):
            changed(**values)
    assert changed().has_synapses_of(program) and not changed(weight=shortcut.weight + 1).has_synapses_of(program)
    layers = [*program.layers[:1], layer.replace(inputs=layer.inputs[:1]), *program.layers[2:]]
    assert not program.replace(layers=layers).has_synapses_of(program)


def test_a_block_whose_linear_layer_would_get_a_map_is_refused():
    block = nn.Residual([nn.TTFSLinear(4, 4, steps=4)])
    model = models.TTFSNet([block, nn.Integrate(4, 2, steps=4)], encoder="spikes", readout="membrane", input_shape=(1, 2, 2))
    with pytest.raises(em.CannotQuantize, match="whose input is a map of 2 x 2"):
        em.quantize(model)
