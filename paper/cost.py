"""How much work a run is beside others: what the time left is estimated by."""

import math

from firstspike.models.grammar import Conv, Pool
from firstspike.models.sizes import SizedLayer, layer_sizes

from .runs import Run

_IMAGES = {
    "digits": 1437,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "dvs-gesture": 1_077,
}  # of training; MNIST has the other
_SHAPES = {"digits": (1, 8, 8), "cifar10": (3, 32, 32), "cifar100": (3, 32, 32), "dvs-gesture": (16, 32, 32)}
_PER_IMAGE = 0.3e6  # what an image costs besides its multiply-accumulates, in units of them
_RELU = 0.8  # of what a step of the same net costs with spikes


def cost(run: Run) -> float:
    """The multiply-accumulates of a run's forward passes and what else an image costs, in units of them.

    The constants are rounded from the CPU seconds of the records in paper/results; a run may take half or twice as long.
    """
    channels, *size = _SHAPES.get(run.data, (1, 28, 28))
    shape = (channels, run.image_size or size[0], run.image_size or size[1])
    image = _PER_IMAGE + _macs(layer_sizes(run.spec, shape))
    return run.epochs * (run.limit or _IMAGES.get(run.data, 60_000)) * image * (1.0 if run.model == "ttfs" else _RELU)


def _macs(layers: tuple[SizedLayer, ...] | list[SizedLayer]) -> int:
    total = 0
    for layer in layers:
        if layer.body:
            total += _macs(layer.body)
        elif not isinstance(layer.token, Pool):
            kernel = math.prod(layer.token.kernel) if isinstance(layer.token, Conv) else 1
            total += layer.positions * kernel * layer.inputs * layer.outputs
    return total
