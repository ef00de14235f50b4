"""What stays on the host: the encoder in front of the cores and the decoder after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import decode, encode, functional
from ..._base.checks import MAX_DECAY, integer, one_of, pair, real
from ...data import Normalize
from ...nn.direct import constant_current
from ...ops.latency import CURVES
from ...spikes import SpikeTimes

ENCODERS = ("spikes", "latency", "direct-linear", "direct-conv")
MODES = {
    "membrane": ("last", "mean", "weighted"),
    "temporal-weighting": ("exp", "linear"),
    "first-spike": ("last", "index"),  # where ties go: to the larger overshoot, or to the lower class
}


@dataclass(frozen=True, eq=False)
class Encoder:
    """How data become input spikes, on the host.

    kind: "spikes" (the program takes spike times), "latency" (`encode.latency` with `curve`), or a directly coded
    first layer, which needs its real-valued current once per image: "direct-linear" and "direct-conv" compute it in
    float32 with `weight` and `bias`, by the function that the trained network calls, and send each neuron's first
    spike. `macs` is its cost. weight: float32, [outputs, inputs] or [outputs, channels, kernel height, kernel width]. bias:
    float32 [outputs]. mean, std: of `data.Normalize`, for uint8 images. image_shape: (channels, height, width) of the images
    whose values a fully connected net takes in this order; None where it takes features.

    Raises ValueError or TypeError naming what is wrong.
    """

    kind: str
    curve: str = "linear"
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    threshold: float = 1.0
    decay: float = 1.0
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    mean: list[float] | None = None
    std: list[float] | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        one_of("encoder", self.kind, ENCODERS)
        one_of("curve", self.curve, CURVES)
        self._check_arrays()
        for name, sizes, low in (("stride", self.stride, 1), ("padding", self.padding, 0)):
            for size in pair(f"{name} of the encoder", sizes, low):
                integer(f"{name} of the encoder", size, low, 1024)
        for size in self.image_shape or ():
            integer("image_shape of the encoder", size, 1)
        real("threshold of the encoder", self.threshold)
        real("decay of the encoder", self.decay, 0.0, MAX_DECAY)
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std of the encoder must have one number per channel each, or both be None")
        for value in self.mean or ():
            real("mean of the encoder", value)
        for value in self.std or ():
            real("std of the encoder", value, 0.0, open_low=True)

    def _check_arrays(self) -> None:
        dimensions = {"direct-linear": 2, "direct-conv": 4}.get(self.kind)
        if dimensions is None:
            if self.weight is not None or self.bias is not None:
                raise ValueError(f"encoder {self.kind} must have no weight and no bias, got some")
            return
        if self.weight is None:
            raise ValueError(f"encoder {self.kind} needs a weight of {dimensions} dimensions")
        for name, array in (("weight", self.weight), ("bias", self.bias)):
            if array is not None and (not isinstance(array, np.ndarray) or array.dtype != np.float32):
                kind = getattr(array, "dtype", type(array).__name__)
                raise TypeError(f"{name} of the encoder must be a float32 array, got {kind}")
            if array is not None and not np.isfinite(array).all():
                raise ValueError(f"{name} of the encoder must be finite, it holds NaN or infinity")
        shape = self.weight.shape
        if len(shape) != dimensions or 0 in shape:
            raise ValueError(
                f"weight of the encoder must have {dimensions} dimensions, none of them 0, got shape {shape}"
            )
        if self.bias is not None and self.bias.shape != shape[:1]:
            raise ValueError(f"bias of the encoder must have shape {shape[:1]}, got {self.bias.shape}")

    @property
    def normalize(self) -> Normalize:
        """The conversion of uint8 images to the trained network's input: scaled, and standardised as in training."""
        if self.mean is None or self.std is None:
            return Normalize()
        return Normalize(tuple(self.mean), tuple(self.std))

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
            x = x.flatten(1)
        current = constant_current(x, weight, bias, self.stride, self.padding)
        return functional.ramp(current, steps, threshold=self.threshold, decay=self.decay)

    def macs(self, out_neurons: int) -> int:
        """Multiply-adds per image on the host, for that many first-layer neurons: all taps of the kernel for each of them.

        Taps in the padding count; `firstspike.profile` and `inspect.synaptic_operations` leave them out.
        """
        return 0 if self.weight is None else int(self.weight[0].size) * out_neurons


@dataclass(frozen=True)
class Readout:
    """How outputs become a class.

    mode: of `decode.membrane` or of `decode.temporal_weighting`; of a first-spike readout "last", ties go to the larger
    overshoot, or "index", to the lower class. gamma: of temporal weighting.
    """

    kind: str
    mode: str = "last"
    gamma: float = 1.0
    classes: int | None = None

    def __post_init__(self) -> None:
        one_of("readout", self.kind, tuple(MODES))
        one_of(f"mode of readout {self.kind}", self.mode, MODES[self.kind])
        if self.classes is not None:
            integer("classes of the readout", self.classes, 1)
        real("gamma of the readout", self.gamma, 0.0)

    def membrane(self, v: NDArray[np.int64]) -> NDArray[np.int64]:
        """Integer scores [B, classes], up to a positive factor, of the membrane [B, T, outputs] in the layer's window.

        Raises OverflowError where a sum does not fit 64 bits.
        """
        return self.running(v)[:, -1]

    def running(self, v: NDArray[np.int64]) -> NDArray[np.int64]:
        """The scores if the run ended after each step, [B, T, classes], up to a positive factor per step."""
        steps, outputs = v.shape[1:]
        terms = (steps * (steps + 1) // 2 if self.mode != "last" else 1) * outputs
        if v.size and max(-int(v.min()), int(v.max())) * terms >= 1 << 63:
            raise OverflowError("the readout's sums do not fit 64 bits; use a narrower membrane register")
        if self.mode == "mean":
            v = v.cumsum(1)
        elif self.mode == "weighted":
            v = ((steps - np.arange(steps))[:, None] * v).cumsum(1)
        return v if self.classes is None else v.reshape(*v.shape[:2], self.classes, outputs // self.classes).sum(-1)

    def time_weights(self, steps: int) -> NDArray[np.int64]:
        """The weight of an output spike in each step, int64 [T]: of `decode.temporal_weights`, up to a factor.

        The largest is 2^30. Linear weights are whole multiples of T - t, the largest up to 2^30, so that sums tie exactly where
        those of real numbers do.
        Raises ValueError where so many bits do not tell the steps apart, or give a spike the weight of silence, 0.
        """
        if self.mode == "linear":
            return np.arange(steps, 0, -1, dtype=np.int64) * ((1 << 30) // steps)
        w = decode.temporal_weights(steps, gamma=self.gamma, mode=self.mode).double().numpy()
        weights: NDArray[np.int64] = np.rint(w / w.max() * (1 << 30)).astype(np.int64)
        if weights[-1] == 0 or (np.diff(weights) == 0)[np.diff(w) < 0].any():
            raise ValueError(
                f"temporal weighting with gamma = {self.gamma:g} has steps of the same weight in 30 bits, or of none, among "
                f"{steps}; use a gamma nearer to 1, or fewer steps"
            )
        return weights

    def spikes(
        self, times: NDArray[np.uint8], steps: int, overshoot: NDArray[np.int64]
    ) -> tuple[NDArray[np.generic], NDArray[np.int64], NDArray[np.bool_]]:
        """(scores [B, classes], class [B], tie [B]) of output spikes in the layer's window, uint8 [B, outputs].

        Temporal weighting: scores are sums of `time_weights`, the largest wins. First spike: the earliest spike wins,
        then, unless the mode is "index", the larger overshoot V - theta; scores are float64, for readers, the class is
        exact. Ties that are left go to the lower class.
        """
        classes = times.shape[1] if self.classes is None else self.classes
        by_class = (len(times), classes, times.shape[1] // classes)
        if self.kind == "temporal-weighting":
            scores = np.append(self.time_weights(steps), np.zeros(256 - steps, np.int64))[times]
            scores = scores.reshape(by_class).sum(-1)
            return scores, scores.argmax(1), (scores == scores.max(1, keepdims=True)).sum(1) > 1
        if self.mode == "index":
            overshoot = np.zeros_like(overshoot)
        first = times == times.min(1, keepdims=True)
        largest = np.where(first, overshoot, np.iinfo(np.int64).min).max(1, keepdims=True)
        wins = (first & (overshoot == largest)).reshape(by_class).any(-1)
        rank = overshoot / (1 + np.abs(overshoot.astype(np.float64))) / (2 * steps)
        best = (steps - np.minimum(times, steps).astype(np.float64)) / steps + rank
        return best.reshape(by_class).max(-1), wins.argmax(1), wins.sum(1) > 1
