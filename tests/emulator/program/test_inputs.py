"""Inputs of a program: what is on another device comes to the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
