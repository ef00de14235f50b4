"""The host's part of a program: the encoder in front of the cores and the decoder after them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ... import decode, encode, functional
from ..._base.checks import MAX_DECAY, MAX_STEPS
from ..._base.records import Record
from ...nn import Normalize, WindowedEncoder
from ...nn.direct import constant_current
from ...spikes import SpikeTimes
from .layers import Padding, Size, array_of

MODES = {
    "membrane": ("last", "mean", "weighted"),
    "temporal-weighting": ("exp", "linear"),
    "first-spike": ("last", "index"),  # where ties go: to the larger overshoot, or to the lower class
}
LARGEST_MARGIN = 1 << 46  # times the sum of the weights of 254 steps it fits 63 bits
_DIMENSIONS = {"direct-linear": 2, "direct-conv": 4}
_Floats = Annotated[NDArray[np.float32], array_of(np.float32)]
_Side = Annotated[int, Field(ge=1, le=1024)]


class Encoder(Record):
    """How data become input spikes, on the host.

    kind: "spikes" (the program takes them), "latency" (with `curve`), "windowed" (levels, see `nn.WindowedEncoder`, with borders
    of `fill`), or a directly coded first layer, whose current the host computes in float32. weight: [outputs, inputs] or
    [outputs, channels, height, width]. mean, std, saturate: of the net's `nn.Normalize`. image_shape: (channels, height,
    width) of images that a fully connected net takes; None for features. code_steps: of "latency" and "spikes", the steps of the
    code, where the program ends before them and later spikes are left out; None for the program's steps.
    """

    kind: Literal["spikes", "latency", "windowed", "direct-linear", "direct-conv"]
    curve: Literal["linear", "log"] = "linear"
    weight: _Floats | None = None
    bias: _Floats | None = None
    threshold: float = 1.0
    decay: Annotated[float, Field(ge=0, le=MAX_DECAY)] = 1.0
    stride: tuple[_Side, _Side] = (1, 1)
    padding: tuple[Padding, Padding] = (0, 0)
    fill: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.0,)
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    saturate: bool = False
    image_shape: tuple[Size, ...] | None = None
    code_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        dimensions = _DIMENSIONS.get(self.kind, 0)
        shape = () if self.weight is None else self.weight.shape
        if len(shape) != dimensions or 0 in shape:
            raise ValueError(f"weight: must have {dimensions or 'no'} dimensions, none of them 0, got shape {shape}")
        if self.bias is not None and self.bias.shape != shape[:1]:
            raise ValueError(f"bias: must have shape {shape[:1]}, got {self.bias.shape}")
        for name, array in (("weight", self.weight), ("bias", self.bias)):
            if array is not None and not np.isfinite(array).all():
                raise ValueError(f"{name}: must be finite")
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("std: must have one number for each of mean, or both must be None")
        return self

    @property
    def normalize(self) -> Normalize | None:
        """The scaling that the trained network applies first; None without."""
        return None if self.mean is None or self.std is None else Normalize(self.mean, self.std, self.saturate)

    def spikes(self, x: Tensor, steps: int) -> SpikeTimes:
        """Input spikes of data x, float32 [B, ...], after the scaling."""
        if self.kind == "latency":
            return encode.latency(x, self.code_steps or steps, self.curve).first(steps)
        if self.kind == "windowed":
            spikes: SpikeTimes = WindowedEncoder(steps, self.padding, self.fill)(x)
            return spikes
        if self.weight is None:
            raise TypeError("the program takes SpikeTimes, not images")
        bias = None if self.bias is None else torch.from_numpy(self.bias)
        x = x.flatten(1) if self.kind == "direct-linear" else x
        current = constant_current(x, torch.from_numpy(self.weight), bias, self.stride, self.padding)
        return functional.ramp(current, steps, threshold=self.threshold, decay=self.decay)

    def macs(self, out_neurons: int) -> int:
        """Multiply-adds per image on the host, for that many first-layer neurons; taps in the padding count."""
        return 0 if self.weight is None else int(self.weight[0].size) * out_neurons


class Readout(Record):
    """How outputs become a class.

    mode: of `decode.membrane` or `decode.temporal_weighting`; of a first-spike readout where ties go: "last", to the larger
    overshoot, or "index", to the lower class. classes: None for one neuron per class. margin: a sample stops after the first
    step in which the best score leads the second by so much, see `stops`; None: after the last step.
    """

    kind: Literal["membrane", "temporal-weighting", "first-spike"]
    mode: str = "last"
    gamma: Annotated[float, Field(ge=0)] = 1.0
    classes: Size | None = None
    margin: Annotated[int, Field(ge=1, le=LARGEST_MARGIN)] | None = None

    @model_validator(mode="after")
    def _is_a_mode(self) -> Self:
        if self.margin is not None and self.kind != "membrane":
            raise ValueError(f"margin: must be None for {self.kind}, which has no running scores, got {self.margin}")
        if self.mode not in MODES[self.kind]:
            raise ValueError(f"mode: must be one of {', '.join(MODES[self.kind])} for {self.kind}, got {self.mode!r}")
        return self

    def running(self, v: NDArray[np.int64]) -> NDArray[np.int64]:
        """Integer scores [B, T, classes] if the run ended after each step, of the membrane [B, T, outputs].

        They are sums: a score is a sum times `scale` of the steps so far.
        """
        steps, outputs = v.shape[1:]
        terms = (steps * (steps + 1) // 2 if self.mode != "last" else 1) * outputs
        if v.size and max(-int(v.min()), int(v.max())) * terms >= 1 << 63:
            raise OverflowError("the readout's sums do not fit 64 bits; use a narrower membrane register")
        if self.mode == "mean":
            v = v.cumsum(1)
        elif self.mode == "weighted":
            v = v.cumsum(1).cumsum(1)
        return v if self.classes is None else v.reshape(*v.shape[:2], self.classes, outputs // self.classes).sum(-1)

    def stops(self, running: NDArray[np.int64]) -> NDArray[np.int64]:
        """The steps after which each sample stops, int64 [B], 1 to T, of `running`.

        It is the first step in which the best sum leads the second by `margin` times k steps so far ("mean"), times k (k + 1) / 2
        ("weighted"), or by `margin` ("last"); else T.
        """
        best = np.partition(running, -2, 2)[..., -2:]
        ran = np.arange(1, running.shape[1] + 1)
        factor = {"mean": ran, "weighted": ran * (ran + 1) // 2}.get(self.mode, ran * 0 + 1)
        clear = best[..., 1] - best[..., 0] >= (self.margin or 0) * factor
        clear[:, -1] = True
        steps: NDArray[np.int64] = clear.argmax(1) + 1
        return steps

    def time_weights(self, steps: int) -> NDArray[np.int64]:
        """The weight of an output spike in each step, int64 [T], of `decode.temporal_weights`; the largest becomes 2^30.

        Linear weights are exact multiples of T - t. Raises ValueError if 30 bits do not tell the steps apart.
        """
        if self.mode == "linear":
            return np.arange(steps, 0, -1, dtype=np.int64) * ((1 << 30) // steps)
        w = decode.temporal_weights(steps, gamma=self.gamma, mode=self.mode).double().numpy()
        weights: NDArray[np.int64] = np.rint(w / w.max() * (1 << 30)).astype(np.int64)
        if weights[-1] == 0 or (np.diff(weights) == 0)[np.diff(w) < 0].any():
            raise ValueError(f"gamma: {self.gamma:g} gives some of {steps} steps the same weight in 30 bits, or none")
        return weights

    def scale(self, steps: int) -> float:
        """What a score of 1 is in the unit of the net's readout, for membranes in its unit."""
        if self.kind == "temporal-weighting":
            weights = decode.temporal_weights(steps, gamma=self.gamma, mode=self.mode)
            return float(weights.max()) / int(self.time_weights(steps).max())
        return {"mean": 1 / steps, "weighted": 2 / (steps * (steps + 1))}[self.mode] if self.mode in ("mean", "weighted") else 1.0

    def spikes(self, times: NDArray[np.uint8], steps: int, overshoot: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """(scores [B, classes], class [B], tie [B]) of output spikes in the layer's window, uint8 [B, outputs].

        First spike: scores are float64, for readers; the class is exact. Ties that are left go to the lower class.
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
