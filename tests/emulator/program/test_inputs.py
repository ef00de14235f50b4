"""Inputs of a program: what is on another device comes to the CPU; images of another size are refused."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

from firstspike import data, models
from firstspike import emulator as em
from firstspike.emulator.program.inputs import input_times

from ..nets import images, net


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("encoder", ["direct", "latency"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_on_a_device_are_those_of_the_cpu(encoder, dtype):
    model = net(encoder=encoder)
    program, x = em.quantize(model), images(model)
    x = (x.clamp(max=1) * 255).to(dtype) if dtype == torch.uint8 else x
    np.testing.assert_array_equal(input_times(program, x.cuda()), input_times(program, x))


SHAPES = "got shape (2, 5, 5) (channels, height, width)"
SCALED = "; scale the images to 8 x 8"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (net(), f"shape (2, 8, 8), {SHAPES}{SCALED}"),
        (net(encoder="latency"), f"shape (2, 8, 8), {SHAPES}{SCALED}"),
        (net("4C3s2-5"), f"a shape from (2, 7, 7) to (2, 8, 8), {SHAPES}{SCALED}"),
        (models.mlp("128-20-5", input_shape=(2, 8, 8), steps=6), f"128 values, {SHAPES}{SCALED}"),
        (net("30-20-5"), f"30 values, {SHAPES}"),
    ],
)
def test_images_of_another_size_are_refused_with_both_sizes_and_what_to_do(model, text):
    program = em.quantize(model)
    with pytest.raises(ValueError, match=f"^{re.escape('images must have ' + text)}$"):
        em.run(program, torch.rand(3, 2, 5, 5))
    with pytest.raises(ValueError, match=r"images must have .*, got shape \(\)"):
        em.run(program, torch.rand(5))
    assert len(em.run(program, images(model)).predictions) == 40


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_a_flat_program_knows_the_order_of_its_values(encoder, tmp_path):
    program = em.quantize(models.mlp("48-20-5", input_shape=(3, 4, 4), steps=6, encoder=encoder))
    em.save(program, tmp_path / "program.safetensors")
    x = torch.rand(3, 3, 4, 4)
    for one in (program, em.load(tmp_path / "program.safetensors")):
        with pytest.raises(
            ValueError, match=r"images must have shape \(3, 4, 4\), or 48 values in a row, got shape \(4, 4, 3\)"
        ):
            em.run(one, x.permute(0, 2, 3, 1))
        whole = em.run(one, x).predictions
        for same in (x.flatten(1), x.double()):
            np.testing.assert_array_equal(em.run(one, same).predictions, whole)


def test_inputs_of_another_type_are_refused():
    with pytest.raises(TypeError, match=r"inputs must be uint8 or of a float type, got torch\.int64"):
        em.run(em.quantize(net()), torch.zeros(1, 2, 8, 8, dtype=torch.int64))


def test_a_stride_leaves_the_size_of_images_open():
    program = em.quantize(net("4C3s2-5"))
    for size in (7, 8):
        em.run(program, torch.rand(3, 2, size, size))
    for shape in ((2, 6, 8), (2, 9, 9), (1, 8, 8), (128,)):
        with pytest.raises(ValueError, match="images must have a shape from"):
            em.run(program, torch.rand(3, *shape))


def test_pixels_in_floats_that_nothing_divided_are_warned_of():
    model = net()
    x = (images(model) * 200).round()
    program = em.quantize(model)
    with pytest.warns(
        UserWarning, match=r"the images hold floats up to 200 .* divide them by the largest value .* as uint8"
    ):
        em.run(program, x)
    with pytest.warns(UserWarning, match=r"the images hold floats up to 200"):
        em.quantize(model, calibration=x)
    with pytest.warns(UserWarning, match=r"the images hold floats up to 200"):
        em.qat.finetune(em.qat.prepare(model), x, torch.zeros(40, dtype=torch.int64))
    em.run(program, x - 10)  # standardised images have values below 0
    em.run(program, x.to(torch.uint8))
    em.run(em.quantize(model, normalize=data.Normalize((90.0,), (60.0,))), x)  # made of floats from 0 to 255
    em.run(em.quantize(model, normalize=data.Normalize((1.0,), (2.0,))), x)  # a few events per pixel, many in some
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        em.run(program, x.repeat(60, 1, 1, 1))  # in several batches
    assert len(caught) == 1
