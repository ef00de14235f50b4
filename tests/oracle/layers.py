"""A layer of a chip's core from its integers, as `quantize` would make it."""

import numpy as np

from ..emulator.nets import changed, dense


def core_layer(profile, weight, theta, bias, **options):
    """The layer of integer weights [inputs, outputs] or [channels, y, x, outputs] in a profile's units and registers."""
    layer = dense(weight, theta.astype(np.int64) << profile.threshold_shift)
    return changed(
        layer,
        bias=bias.astype(np.int64) << profile.weight_shift,
        accumulator=profile.accumulator,
        membrane=profile.membrane,
        shift=profile.weight_shift,
        update=profile.update,
        fire=profile.fire,
        **options,
    )
