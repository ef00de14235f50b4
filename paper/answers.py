"""What an answer costs by each energy model, from the counts in a run's record."""

from collections.abc import Callable
from typing import Literal

from firstspike import energy

from .measures import CHIP, Record


def counts(record: Record) -> list[energy.LayerCounts]:
    """The counts of the layers of a record's net; none in records that are older than these counts."""
    return [energy.LayerCounts(**layer) for layer in record["results"].get("counts") or ()]


def by_layer(record: Record, schedule: str) -> list[float] | None:
    """Microjoules per image of each layer in a schedule; None where the net or its record does not have it."""
    layers = counts(record)
    if not layers or _is_relu(record) or (layers[0].timing == "step" and schedule != "clocked"):
        return None
    return [value / 1e3 for value in energy.accounts(layers, CHIP, schedule).by_layer()]


def spent(record: Record, schedule: str) -> float | None:
    """The sum of `by_layer`."""
    layers = by_layer(record, schedule)
    return None if layers is None else sum(layers)


def lemaire(record: Record, *, relu: bool = False) -> float | None:
    """Microjoules per image by the model of Lemaire et al.; relu: of the same net with ReLU, dense."""
    layers = counts(record)
    if not layers or (_is_relu(record) and not relu):
        return None
    return (energy.lemaire.relu_nj(layers) if relu else energy.lemaire.spiking_nj(layers)) / 1e3


def times_lemaire(record: Record) -> float | None:
    """The energy of a spiking net as a part of the dense ReLU net's, by the model of Lemaire et al."""
    found, dense = lemaire(record), lemaire(record, relu=True)
    return None if found is None or not dense else found / dense


def relu_by_layer(record: Record, *, equal_bits: bool = False, skip_zeros: bool = False) -> list[float] | None:
    """Microjoules per image and layer of the same net with ReLU in integers, with the zeros of the record's own net.

    equal_bits: with as many bits as the levels of its spikes need, else with 8.
    """
    layers = counts(record)
    bits: Literal["equal", 8] = "equal" if equal_bits else 8
    return [(energy.relu([layer], CHIP, bits=bits, skip_zeros=skip_zeros) or 0.0) / 1e3 for layer in layers] if layers else None


def of_relu(record: Record, *, equal_bits: bool = False, skip_zeros: bool = False) -> float | None:
    """The sum of `relu_by_layer`."""
    layers = relu_by_layer(record, equal_bits=equal_bits, skip_zeros=skip_zeros)
    return None if layers is None else sum(layers)


def additions_share(record: Record) -> float | None:
    """Additions as a part of the multiply-adds of the same net with ReLU; of a net with ReLU those whose input is not 0."""
    layers = counts(record)
    dense = sum(layer.macs for layer in layers)
    return sum(layer.nonzero_macs if _is_relu(record) else layer.additions for layer in layers) / dense if layers else None


def answer_steps(record: Record) -> float | None:
    """Steps to the answer with the input's window; None of a net with ReLU."""
    layers = counts(record)
    if not layers or _is_relu(record):
        return None
    return layers[0].in_steps + sum(layer.steps for layer in layers) if layers[0].timing == "windowed" else layers[0].steps


def _is_relu(record: Record) -> bool:
    return bool(record["spec"]["model"] == "relu")


#: Measures of a record: microjoules per image, additions and steps.
ENERGIES: dict[str, Callable[[Record], float | None]] = {
    "neuron_by_neuron": lambda record: spent(record, "neuron-by-neuron"),
    "payload": lambda record: spent(record, "payload"),
    "clocked": lambda record: spent(record, "clocked"),
    "lemaire": lemaire,
    "lemaire_dense": lambda record: lemaire(record, relu=True),
    "times_lemaire": times_lemaire,
    "dense": of_relu,
    "skipping": lambda record: of_relu(record, skip_zeros=True),
    "equal_bits": lambda record: None if _is_relu(record) else of_relu(record, equal_bits=True, skip_zeros=True),
    "additions_share": additions_share,
    "answer_steps": answer_steps,
}
