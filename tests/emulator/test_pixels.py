"""A first layer in integers: equal to the NumPy twin and to the float net that `qat.prepare` makes, from bytes to class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import emulator as em
from firstspike import models, nn
from firstspike.emulator.program import pixels, serialization

from . import golden
from .export.test_exporting import needs_compiler
from .held_out import compare
from .nets import net

SPECS = ("30-20-5", "6C3-AP2-8C3-AP2-12-5", "5C3s2-5", "128-6-5")


def bytes_for(model, count, seed=0):
    shape = (count, *model.input_shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def scaled(spec, normalize, **options):
    maps = {"input_shape": (2, 8, 8), "generator": torch.Generator().manual_seed(0), "steps": 6}
    options.pop("seed", None) if spec[:3] == "128" else None
    model = models.build(spec, **maps | options).eval() if spec[:3] == "128" else net(spec, **options)
    channels = 1 if len(model.input_shape) == 1 else 2
    if normalize:
        model.normalize = nn.Normalize([0.3, 0.55][:channels], [0.2, 0.3][:channels])
    return model


@given(
    st.sampled_from(SPECS),
    st.sampled_from(["generic8", "loihi-like", "odin-like", "speck-like"]),
    st.booleans(),
    st.sampled_from([1.0, 0.75]),
    st.sampled_from([1, 6, 20]),
    st.integers(0, 1000),
)
def test_from_bytes_to_class_as_the_twin(spec, name, normalize, decay, steps, seed):
    profile = em.profile.load(name)
    if not profile.decay_bits:
        decay = 1.0
    profile = profile.replace(single_spike="native", single_spike_steps=None, axon_delay=0)
    model = scaled(spec, normalize, steps=steps, decay=decay, bias=name in ("generic8", "loihi-like"), seed=seed)
    program = em.quantize(model, profile)
    x = bytes_for(model, 3, seed)
    ran = em.run(program, x, trace=3)
    for b, sample in enumerate(pixels.bytes_of(program.pixels, x)):
        times = golden.pixel_times(program.pixels, sample)
        np.testing.assert_array_equal(ran.trace["input_times"][b], times)
        made = golden.run(program.layers, program.total_steps, times)
        for n, expected in enumerate(made.times):
            np.testing.assert_array_equal(ran.trace[f"times.{n}"][b], expected)


@needs_compiler
@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_held_out_nets_of_both_kinds_in_c_too(tmp_path_factory, seed):
    neurons, different = compare(seed, tmp_path_factory.mktemp("c"))
    assert neurons > 0 and different == 0


def test_by_hand():
    """W = (0.5, -0.25), b = 0.1, threshold 1; the scale is 2^-7, q = (64, -32), c = 0.1 255 128, theta = 255 128."""
    layer = nn.DirectLinear(2, 1, steps=8, normalization=False, affine=None)
    model = models.TTFSNet([layer, nn.Integrate(1, 2, steps=8)], encoder="direct", readout="membrane", input_shape=(2,))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.25]])), layer.bias.fill_(0.1)
    program = em.quantize(model, observer="max")
    first = program.pixels
    assert (first.weight[:, 0].tolist(), first.bias.tolist(), first.theta.tolist()) == ([64, -32], [3264], [32640])
    assert first.neuron.coarse.tolist() == [0]
    x = np.array([[255, 0], [100, 0], [20, 255], [0, 255]], np.uint8)
    assert pixels.sums(first, x)[:, 0, 0].tolist() == [19584, 9664, -3616, -4896]
    assert pixels.times(first, x)[:, 0].tolist() == [1, 3, 255, 255]  # 2 x 19584 and 4 x 9664 reach it


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["generic8", "loihi-like"])
def test_the_net_of_qat_is_the_program(spec, name):
    model = scaled(spec, True)
    x = bytes_for(model, 50)
    made = em.qat.prepare(model, name)
    em.qat.finetune(made, x, model(x).argmax(1), epochs=1, batch=25, lr=1e-3, generator=torch.Generator().manual_seed(0))
    program = em.quantize(made, name)
    with torch.no_grad():
        seen = made.observe(x)
    assert (program.in_source_order(seen.layers[0].times).numpy() == program.input_times(x)).mean() > 0.999
    assert (em.run(program, x).predictions == seen.scores.argmax(1).numpy()).mean() > 0.95


def test_integers_are_near_the_float_layer_and_files_keep_them():
    model = scaled(SPECS[1], True)
    x = bytes_for(model, 50)
    whole, host = (em.quantize(model, first_layer=how) for how in ("integers", "float"))
    assert (whole.input_times(x) == host.input_times(x)).mean() > 0.95
    again = serialization.loads(serialization.dumps(whole))
    assert (again.input_times(x) == whole.input_times(x)).all() and again.pixels.neuron.zero == whole.pixels.neuron.zero
    assert (whole.input_times(x) == whole.input_times(x.float() / 255)).all()  # floats are rounded to bytes


def test_its_neurons_are_placed_where_cores_have_biases():
    model = scaled(SPECS[0], False, bias=False)
    on, before = (em.place(em.quantize(model, name)) for name in ("generic8", "odin-like"))
    assert (on.slots[0].layer, on.slots[0].neurons, on.slots[0].axons_in, on.slots[0].memory) == (-1, 20, 0, 0)
    assert on.links[0].core == 0 and before.links[0].core is None and before.slots[0].layer == 0
    assert list(on.table()["layer"]) == ["0:DirectLinear", "1:Integrate"]
    made = em.report(em.run(on.program, bytes_for(model, 20)), placement=on)
    assert made.layers()["neurons"].tolist() == [20, 5]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 2, 8, 7, dtype=torch.uint8), "shape \\(2, 8, 8\\).*resize"),
        (torch.zeros(2, 2, 8, 8) + 2, "0 to 1.*first_layer='float'"),
        (torch.full((2, 2, 8, 8), float("nan")), "0 to 1"),
    ],
)
def test_other_images_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        em.run(em.quantize(net()), images)


def test_a_growing_membrane_and_sums_beyond_32_bits_are_refused():
    with pytest.raises(em.CannotQuantize, match="first_layer = 'float'"):
        em.quantize(
            models.TTFSNet(
                [nn.DirectLinear(4, 3, steps=4, decay=1.5), nn.Integrate(3, 2, steps=4)],
                encoder="direct",
                readout="membrane",
                input_shape=(4,),
            )
        )
    model = models.build("4000-9-5", input_shape=(4000,), steps=4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(em.CannotQuantize, match="32 bits"):
        em.quantize(model, em.profile.load("generic8").replace(weight_bits=16), bits=16)
