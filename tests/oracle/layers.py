"""A layer of a chip's core from its integers, as `quantize` would make it."""

import numpy as np

from firstspike.emulator.program.layers import Layer


def core_layer(profile, weight, theta, bias, **options):
    """The layer of integer weights [inputs, outputs] or [channels, y, x, outputs] in a profile's units and registers."""
    given = {"kind": "linear", "in_shape": (1, 1, weight.shape[0]), "out_shape": (1, 1, weight.shape[-1]), **options}
    return Layer(
        weight=weight.astype(np.int32),
        theta=theta.astype(np.int64) << profile.threshold_shift,
        bias=bias.astype(np.int64) << profile.weight_shift,
        accumulator=profile.accumulator,
        membrane=profile.membrane,
        shift=profile.weight_shift,
        update=profile.update,
        fire=profile.fire,
        scale=np.ones(weight.shape[-1]),
        **given,
    )
