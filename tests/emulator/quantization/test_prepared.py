"""What `qat.prepare` fixes is what `quantize` uses: the integers to the last one, the granularity, and one scale per module."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import models
from firstspike import nn as fs
from firstspike.emulator.quantization import qat


def test_weights_between_two_integers_round_as_in_the_program():
    made = qat.prepare(models.build("64-32-10", input_shape=(64,), steps=8, encoder="latency"), "generic8")
    layer = made.layers[0]
    scale = layer.quantizer.scale.detach()
    halves = (torch.arange(64) - 32 + 0.5).expand(32, 64).contiguous()
    with torch.no_grad():
        layer.weight.copy_(halves * scale.view(-1, 1))
        layer.weight[::2] = torch.nextafter(layer.weight[::2], torch.tensor(torch.inf))
        layer.bias.copy_((torch.arange(32) + 0.5) * scale)
        weight, bias = layer.effective_weight_and_bias()
        unit = layer.quantizer.value()
    program = em.quantize(made, "generic8").layers[0]
    np.testing.assert_array_equal((weight / unit.view(-1, 1)).round().int().numpy(), program.weight.T)
    np.testing.assert_array_equal((bias / unit).round().int().numpy(), program.bias >> program.shift)
    in_single = (layer.weight.detach() / scale.view(-1, 1)).round().clamp(-128, 127)
    assert (in_single.int().numpy() != program.weight.T).any()  # or this would show nothing


def test_a_prepared_net_keeps_its_granularity():
    model = models.build("64-32-10", input_shape=(64,), steps=8, encoder="latency")
    for made_for, other in (("channel", "tensor"), ("tensor", "channel")):
        made = qat.prepare(model, "generic8", granularity=made_for)
        with pytest.raises(ValueError, match=f"granularity must be '{made_for}', for which .*, got '{other}'"):
            em.quantize(made, granularity=other)
        em.quantize(made, granularity=made_for)


def test_a_blocks_last_layer_that_is_called_elsewhere_has_one_scale():
    torch.manual_seed(0)
    options = {"steps": 8, "bias": False}
    shared = fs.TTFSLinear(32, 32, **options)
    block = fs.Residual([fs.TTFSLinear(32, 32, **options), shared], scale=3.0)
    model = torch.nn.Sequential(
        fs.LatencyEncoder(8), fs.TTFSLinear(64, 32, **options), block, shared, fs.Integrate(32, 10, **options),
        fs.MembraneReadout(),
    )  # fmt: skip
    made = qat.prepare(model, "generic8")
    program = em.quantize(made, "generic8")
    of_block, alone = program.layers[2], program.layers[3]
    np.testing.assert_array_equal(of_block.scale, alone.scale)
    np.testing.assert_array_equal(of_block.weight, alone.weight)
