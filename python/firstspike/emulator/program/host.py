"""What stays on the host: the encoder in front of the cores and the decoder behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ... import decode, encode, functional
from ...data import Normalize
from ...ops.latency import CURVES
from ...spikes import SpikeTimes

ENCODERS = ("spikes", "latency", "direct-linear", "direct-conv")
READOUTS = ("membrane", "temporal-weighting", "first-spike")


@dataclass(frozen=True, eq=False)
class Encoder:
    """How data become input spikes, on the host.

    kind: "spikes" (the program takes spike times), "latency" (`encode.latency` with `curve`), or a directly coded
    first layer, which needs its real-valued current once an image: "direct-linear" and "direct-conv" compute it in
    float32 with `weight` and `bias`, exactly as the trained network does, and send each neuron's first spike. `macs`
    is its cost, reported apart from the cores'.
    """

    kind: str
    curve: str = "linear"
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    threshold: float = 1.0
    decay: float = 1.0
    stride: int = 1
    padding: int = 0
    mean: list[float] | None = None
    deviation: list[float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {self.kind!r}")
        if self.kind.startswith("direct") and (
            self.weight is None or self.weight.ndim != (2 if self.kind == "direct-linear" else 4)
        ):
            raise ValueError(
                f"encoder {self.kind} needs a weight of {2 if self.kind == 'direct-linear' else 4} dimensions"
            )
        if self.curve not in CURVES:
            raise ValueError(f"curve must be one of {', '.join(CURVES)}, got {self.curve!r}")

    def pixels(self, images: Tensor) -> Tensor:
        """Data as the trained network takes them, float32, of uint8 images: scaled, and standardised as in training."""
        if self.mean is None or self.deviation is None:
            return Normalize()(images)
        return Normalize(tuple(self.mean), tuple(self.deviation))(images)

    def spikes(self, x: Tensor, steps: int) -> SpikeTimes:
        """Input spikes of data x, float32 [B, ...] as the trained network takes it."""
        if self.kind == "spikes":
            raise TypeError("this program takes SpikeTimes, not images")
        if self.kind == "latency":
            return encode.latency(x, steps, self.curve)
        assert self.weight is not None
        weight = torch.from_numpy(self.weight)
        bias = None if self.bias is None else torch.from_numpy(self.bias)
        if self.kind == "direct-linear":
            current = F.linear(x.flatten(1), weight, bias)
        else:
            x, weight = (y.contiguous(memory_format=torch.channels_last) for y in (x, weight))
            current = F.conv2d(x, weight, bias, self.stride, self.padding)
        return functional.ramp(current, steps, threshold=self.threshold, decay=self.decay)

    def macs(self, out_neurons: int) -> int:
        """Multiply-adds an image on the host, for that many first-layer neurons."""
        return 0 if self.weight is None else int(self.weight[0].size) * out_neurons


@dataclass(frozen=True)
class Readout:
    """How outputs become a class. mode: of `decode.membrane` or of `decode.temporal_weighting`; gamma: of the
    latter."""

    kind: str
    mode: str = "last"
    gamma: float = 1.0
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in READOUTS:
            raise ValueError(f"readout must be one of {', '.join(READOUTS)}, got {self.kind!r}")

    def membrane(self, v: NDArray[np.int64]) -> NDArray[np.int64]:
        """Integer scores [B, classes], up to a positive factor, of the membrane [B, T, outputs] in the layer's
        window."""
        steps = v.shape[1]
        if self.mode == "last":
            scores = v[:, -1]
        elif self.mode == "mean":
            scores = v.sum(1)
        else:
            scores = np.einsum("t,btc->bc", steps - np.arange(steps), v)
        return scores if self.classes is None else scores.reshape(len(scores), self.classes, -1).sum(-1)

    def spikes(self, times: SpikeTimes, overshoot: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores [B, classes] of output spikes [B, outputs]; the argmax is the answer, ties go to the lower index."""
        if self.kind == "temporal-weighting":
            scores = decode.temporal_weighting(times, gamma=self.gamma, mode=self.mode)
            return (scores if self.classes is None else decode.population(scores, self.classes)).double().numpy()
        rank = overshoot.astype(np.float64)
        scaled = rank / (1 + np.abs(rank)) / (2 * times.steps)
        late = times.times.long().clamp(max=times.steps).numpy()
        best = (times.steps - late) / times.steps + scaled
        return best if self.classes is None else best.reshape(len(best), self.classes, -1).max(-1)
