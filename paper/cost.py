"""How much work a run is beside others: what the time left is estimated by."""

from firstspike.models import macs_of_spec

from .runs import Run

# Training images and their shapes; MNIST and Fashion-MNIST have 60,000 of 1 x 28 x 28.
_IMAGES = {"digits": 1437, "cifar10": 50_000, "cifar100": 50_000, "dvs-gesture": 1077, "yin-yang": 5000}
_SHAPES = {
    "digits": (1, 8, 8),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "dvs-gesture": (16, 32, 32),
    "yin-yang": (4, 1, 1),
}
_PER_IMAGE = 0.3e6  # what an image costs besides its multiply-accumulates, in units of them
_RELU = 0.8  # of what a step of the same net costs with spikes


def shape_of(run: Run) -> tuple[int, int, int]:
    """(channels, height, width) of a run's images."""
    channels, *size = _SHAPES.get(run.data, (1, 28, 28))
    return channels, run.image_size or size[0], run.image_size or size[1]


def cost(run: Run) -> float:
    """The multiply-accumulates of a run's forward passes and what else an image costs, in units of them.

    The constants are rounded from the CPU seconds of the records in paper/results; a run may take half or twice as long.
    """
    shape = shape_of(run)
    image = _PER_IMAGE + macs_of_spec(run.spec, shape, run.population)
    total: float = run.epochs * (run.limit or _IMAGES.get(run.data, 60_000)) * image * (1.0 if run.model == "ttfs" else _RELU)
    return total
