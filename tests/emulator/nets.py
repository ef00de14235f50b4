"""Small nets and inputs for the tests of quantising, placing and running."""

from __future__ import annotations

import numpy as np
import torch

from firstspike import models, nn
from firstspike.emulator import Profile, Program
from firstspike.emulator.program import profile
from firstspike.emulator.program.layers import Layer, Register, StepNeuron, Synapses

SPECS = ("30-20-5", "6C3-AP2-8C3-AP2-12-5", "4C3-7C3-5")
# Blocks of one layer and of two, with more channels, a stride, pooling within and before them, and fully connected ones.
RESIDUAL = ("4C3-R(4C3-6C3)-AP2-R(6C3x1s2)-10-R(10-12)-5", "4C3-AP2-R(6C3)-AP2-R(6C3-8C3)-5")

# Profiles that take step-by-step nets without a current.
WITHOUT_CURRENT = tuple(name for name in profile.names() if name != "xylo-like" and profile.load(name).fpga is None)


def net(spec=SPECS[1], *, steps=6, seed=0, **options):
    """A net with weights, gamma and beta away from their initial values."""
    draw = torch.Generator().manual_seed(seed)
    shape = (30,) if spec[0].isdigit() and "C" not in spec.split("-")[0] else (2, 8, 8)
    made = models.build(spec, input_shape=shape, steps=steps, generator=draw, **options)
    with torch.no_grad():
        for layer in made.layers:
            if getattr(layer, "gamma", None) is not None:
                layer.gamma.copy_(0.6 + torch.rand(layer.gamma.shape, generator=draw))
            if getattr(layer, "bias", None) is not None:
                layer.bias.copy_(0.2 * torch.randn(layer.bias.shape, generator=draw))
    for number, block in enumerate(part for part in made.modules() if isinstance(part, nn.Residual)):
        block.scale.fill_((0.9, -0.3, 0.6)[number])
    return made.eval()


def local_times(program, times, batch):
    """Times of the layers that fire, in torch's order, in steps of the network."""
    for layer, mine in zip(program.layers, times, strict=True):
        if layer.fires:
            local = np.where(mine == 255, 255, mine - np.uint8(layer.start)).astype(np.uint8)
            yield torch.from_numpy(local.reshape(batch, *layer.out_shape)).permute(0, 3, 1, 2)


def dense(weight, theta, /, **changes):
    """A linear layer of registers that its weights do not fill, over 4 steps."""
    weight = np.array(weight, np.int64)
    made = Layer(
        name="a",
        inputs=[Synapses(weight=weight, in_shape=(1, 1, weight.shape[0]))],
        neuron=StepNeuron(theta=np.array(theta, np.int64), bias=np.zeros(weight.shape[-1], np.int64), stop=4),
        out_shape=(1, 1, weight.shape[-1]),
        accumulator=Register.of(16),
        membrane=Register.of(16),
        scale=np.ones(weight.shape[-1]),
    )
    return changed(made, **changes)


def changed(layer, shortcut=None, **changes):
    """The layer with other fields, of its own, of its first input or of its neuron. shortcut: instead of the one that it has."""
    others = layer.inputs[1:] if shortcut is None else (shortcut,)
    own, neuron = (
        part.replace(**{name: changes.pop(name) for name in set(changes) & set(type(part).model_fields)})
        for part in (layer.inputs[0], layer.neuron)
    )
    return layer.replace(**{"inputs": (own, *others), "neuron": neuron} | changes)


def chained(layers):
    """The layers, each with the one before it as its source."""
    return [changed(layer, source=index - 1) for index, layer in enumerate(layers)]


def images(model, count=40, seed=1):
    """Random pixels as floats in 0..1, with zeros among them."""
    x = torch.rand((count, *model.input_shape), generator=torch.Generator().manual_seed(seed))
    return ((x * 1.5 - 0.5).clamp(min=0) * 255).round() / 255


def with_policy(program: Program, policy: str) -> Program:
    """The same program with one overflow policy for all registers."""
    layers = [
        one.replace(**{name: getattr(one, name).replace(policy=policy) for name in ("accumulator", "membrane")})
        for one in program.layers
    ]
    return program.replace(layers=layers)


def wide() -> Profile:
    """A profile so fine that rounding is far below float32's own."""
    return profile.load("generic8").replace(
        name="wide", weight_bits=26, membrane_bits=46, accumulator_bits=56, threshold_bits=44, bias_bits=40
    )
