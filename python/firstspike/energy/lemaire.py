"""The energy model of Lemaire et al., "An Analytical Estimation of Spiking Neural Networks Energy Efficiency" (ICONIP 2022).

arXiv 2210.13107. It counts accesses of memories for inputs, weights, biases, potentials and outputs, operations, and the
computation of addresses, in 45 nm with integers of 32 bits. The equations have the paper's numbers. Two of them are taken as the
authors' code (LEAT-EDGE/qualia-plugin-snn) corrects them: in Eq. 2.4 the paper counts a factor N_in too many, and leaves out the
reset. The energy of an access is that code's line, E(n) = 1.09e-5 n b + 13.2 pJ of a memory of n numbers of b bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .counts import LayerCounts

__all__ = ["Estimate", "access_pj", "relu", "relu_nj", "spiking", "spiking_nj"]

ADD_PJ, MULTIPLY_PJ = 0.1, 3.1  # 45 nm, int32: Horowitz, ISSCC 2014
_MAC_PJ = ADD_PJ + MULTIPLY_PJ
_PJ_PER_BIT, _PJ_AT_LEAST = 1.09e-5, 13.2
BITS, QUEUE = 32, 1024  # of every number; events that fit the queue between two layers


@dataclass(frozen=True)
class Estimate:
    """Picojoules per sample by part.

    Parameters
    ----------
    potentials, weights, biases, signals : reads and writes of these memories; signals are inputs and outputs.
    operations : additions and multiplications of the layers.
    addresses : computing the addresses of events and weights.
    """

    potentials: float = 0.0
    weights: float = 0.0
    biases: float = 0.0
    signals: float = 0.0
    operations: float = 0.0
    addresses: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.potentials + self.weights + self.biases + self.signals + self.operations + self.addresses


def access_pj(numbers: float) -> float:
    """Return the picojoules of one read or write of a memory of so many numbers."""
    return _PJ_PER_BIT * numbers * BITS + _PJ_AT_LEAST


def spiking(layer: LayerCounts) -> Estimate:
    """Estimate a layer of a spiking net, whose core reads and writes a potential for every event and in every step.

    A layer that gets real numbers is the authors' hybrid one: it multiplies as `relu` does, then it fires as others do.
    A max pool reads no weights.
    """
    steps, neurons, events = layer.steps + layer.in_steps, layer.neurons, layer.events
    if layer.direct_macs:
        synapses, macs, inputs = 0.0, _products(layer), _reads(layer) * access_pj(layer.inputs)
        weights, addresses = macs * access_pj(layer.weights), relu(layer).addresses
    else:
        read = events * layer.outputs * layer.taps / layer.groups  # Eq. 7, 8: weights
        synapses = layer.additions if layer.kind == "pool" else read
        macs, inputs = 0.0, (events + layer.shortcut_events) * access_pj(QUEUE)  # Eq. 5
        weights = 0.0 if layer.kind == "pool" else synapses * access_pj(layer.weights)
        addresses = 2 * events * _MAC_PJ * (layer.kind == "convolution") + synapses * ADD_PJ  # Eq. 16.2, 16.3, 17.2
    visits = synapses + layer.shortcut_additions + neurons * steps  # Eq. 9, 10, 14, 15: reads, and as many writes
    reached = synapses * layer.reached / layer.taps if layer.kind == "convolution" else synapses
    additions = reached + layer.shortcut_additions + steps * neurons + layer.spikes  # Eq. 1.4, 2.4
    macs += steps * neurons if layer.leaks else 0.0  # Eq. 1.3, 2.3
    return Estimate(
        potentials=2 * visits * access_pj(neurons),
        weights=weights,
        biases=neurons * steps * access_pj(layer.outputs) if layer.biased else 0.0,
        signals=inputs + layer.spikes * access_pj(QUEUE),  # Eq. 13
        operations=macs * _MAC_PJ + additions * ADD_PJ,
        addresses=addresses,
    )


def relu(layer: LayerCounts) -> Estimate:
    """Estimate the same layer with ReLU, dense, as the paper's formal network; taps in the padding count, a max pool is free."""
    neurons = layer.neurons
    if layer.kind == "pool":
        return Estimate()
    products = _products(layer)
    convolution = layer.kind == "convolution"
    addresses = layer.inputs + neurons + layer.outputs * layer.taps if convolution else products
    return Estimate(
        weights=products * access_pj(layer.weights),  # Eq. 6.1, 6.2
        biases=neurons * access_pj(layer.outputs) if layer.biased else 0.0,
        signals=_reads(layer) * access_pj(layer.inputs) + neurons * access_pj(neurons),  # Eq. 3, 4 and 11, 12
        operations=products * _MAC_PJ + neurons * ADD_PJ,  # Eq. 1.2, 2.2
        addresses=addresses * ADD_PJ,
    )


def spiking_nj(counts: Sequence[LayerCounts]) -> float:
    """Return the nanojoules per sample of a spiking net."""
    return sum(spiking(layer).total for layer in counts) / 1e3


def relu_nj(counts: Sequence[LayerCounts]) -> float:
    """Return the nanojoules per sample of the same net with ReLU, dense."""
    return sum(relu(layer).total for layer in counts) / 1e3


def _products(layer: LayerCounts) -> float:
    """Multiply-adds of the dense layer, in the padding as well: Eq. 1.1, 2.1."""
    return layer.weights / layer.outputs * layer.neurons


def _reads(layer: LayerCounts) -> float:
    """Inputs that the dense layer reads: a convolution reads one for every product."""
    return _products(layer) if layer.kind == "convolution" else layer.inputs
