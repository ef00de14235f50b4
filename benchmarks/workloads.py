"""What is measured: the nets, batch sizes and numbers of steps of the comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A net, by its string, on 28 x 28 images, with the training batch and the numbers of steps at which it is
    compared.

    targets: {T: (times as fast as SpikingJelly, times as fast as the compiled dense net)}.
    """

    name: str
    spec: str
    batch: int
    targets: dict[int, tuple[float, float]]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one sample."""
        return (1, 28, 28)

    @property
    def flat(self) -> bool:
        """Whether the net takes [B, 784] rather than maps: it has no convolution."""
        return "C" not in self.spec

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers of steps."""
        return tuple(self.targets)


MLP = Workload("mlp", "784-400-400-10", 128, {8: (5, 6), 16: (8, 9), 64: (24, 24)})
CNN = Workload("cnn", "32C3-AP2-64C3-AP2-128-10", 64, {8: (8, 11), 16: (12, 14)})
WIDE = Workload("wide", "128C3-AP2-128C3-AP2-2048-100", 32, {8: (6, 6)})
WORKLOADS = (MLP, CNN, WIDE)

#: Inference targets {batch: (against SpikingJelly, against the compiled dense net)}.
INFERENCE = {256: (9, 8), 1: (6, 5)}


def workload_named(name: str) -> Workload:
    """The work of this name."""
    return {workload.name: workload for workload in WORKLOADS}[name]
