"""Rounding of a layer's weight and bias in training, with a straight-through gradient."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ...models import TTFSNet
from ..program.profile import Profile
from . import scales


class FakeQuantize(nn.Module):
    """Rounds weight and bias to integers times a scale; it is the `quantizer` of a layer (`nn.Synapse`).

    The gradient passes the rounding unchanged, and stops where a weight is clipped. scale: float32 [O] or [1], learned
    in logarithm (gradient of the rounding error as in Esser et al. 2020, LSQ, without its gradient scale).

    Without a leak, and on cores that test after the events of a step, the result equals the integer network exactly: with
    `reached` the integer threshold, the integers q are multiplied by threshold / (reached - 1/2), so that the float network
    fires where the integer one does, half a unit away from any tie. A readout has no threshold: its q are multiplied by the
    scale. The integers are those of `quantize`, made in float64 as there.

    without_bias: the profile has no biases, a bias is rounded to 0. A residual block's shortcut is rounded like a weight
    (`round_shortcut`), and `finest` keeps the scale so coarse that it is not clipped.
    """

    def __init__(
        self,
        scale: Tensor,
        bits: int,
        step: int,
        threshold: float | None,
        pool: int,
        finest: float,
        without_bias: bool,
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.log())
        self.bits, self.step, self.threshold, self.pool, self.finest = bits, step, threshold, pool, finest
        self.without_bias = without_bias

    @property
    def scale(self) -> Tensor:
        """The real value of an integer weight of 1, [O] or [1]."""
        return self.log_scale.exp().clamp(min=self.finest)

    def value(self) -> Tensor:
        """The value that an integer of 1 has in the float network that equals the integer one, [O] or [1]."""
        scale = self.scale
        if self.threshold is None:
            return scale
        with torch.no_grad():
            reached = [scales.exact_ceil(self.threshold, s, self.pool**2) for s in scale.detach().double().tolist()]
            exact = [self.threshold * self.pool**2 / (r - 0.5) for r in reached]
            ratio = torch.tensor(exact, dtype=scale.dtype, device=scale.device) / scale
        return scale * ratio

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and bias that the cores will use, in the shapes of `weight` [O, ...] and `bias` [O]."""
        low, high = scales.weight_limits(self.bits)
        shape = (-1, *[1] * (weight.dim() - 1))
        value = self.value()
        scale = self.scale
        exact = weight.detach().double() / (scale.detach().double() * self.step).view(shape)
        q = _as_integers((weight / (scale * self.step).view(shape)).clamp(low, high), exact.round().clamp(low, high))
        rounded = q * (value * self.step).view(shape)
        if bias is None:
            return rounded, None
        if self.without_bias:
            return rounded, bias * 0
        area = self.pool**2
        integers = (bias.detach().double() * area / scale.detach().double()).round()
        return rounded, _as_integers(bias * area / scale, integers) * value / area

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """The scale of a shortcut, [1] or [M], that the cores will use: [M], or [O] or [1] as the weight's scales are."""
        assert self.threshold is not None  # a block ends in a layer that fires
        scale, value = self.scale, self.value()
        if len(shortcut) > 1:
            scale, value = (x if len(x) == 1 else x[: len(shortcut)] for x in (scale, value))
        area, (one, unit) = self.pool**2, torch.broadcast_tensors(shortcut.detach().double(), scale.detach().double())
        integers = scales.shortcut_integers(one.cpu().numpy(), unit.cpu().numpy(), self.threshold, self.pool, self.step)
        return _as_integers(shortcut * area / scale, torch.from_numpy(integers)) * value / area

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"bits={self.bits}, step={self.step}, pool={self.pool}, without_bias={self.without_bias}"


def _as_integers(x: Tensor, integers: Tensor) -> Tensor:
    """The integers, with the gradient of x."""
    return x + (integers.to(x) - x).detach()


def held_scale(module: nn.Module) -> NDArray[np.float64] | None:
    """The scale that quantisation-aware training holds for a layer, float64 [O] or [1]; None without."""
    quantizer = getattr(module, "quantizer", None)
    if not isinstance(quantizer, FakeQuantize):
        return None
    held: NDArray[np.float64] = quantizer.scale.detach().double().cpu().numpy()
    return held


def prepared_bits(model: nn.Module) -> int | None:
    """The weight bits for which `qat.prepare` made a net; None for another net."""
    return max((module.bits for module in model.modules() if isinstance(module, FakeQuantize)), default=None)


def check_prepared_for(model: TTFSNet, profile: Profile, bits: int, granularity: str | None = None) -> None:
    """Raise ValueError for a profile or settings with which a net of `qat.prepare` would differ from the one that was trained."""
    for layer in model.modules():
        quantizer = getattr(layer, "quantizer", None)
        if not isinstance(quantizer, FakeQuantize):
            continue
        if quantizer.bits != bits:
            raise ValueError(f"bits must be {quantizer.bits}, for which qat.prepare made the net, got {bits}")
        if (quantizer.step, quantizer.without_bias) != (profile.weight_step, not profile.bias_bits):
            raise ValueError(
                f"profile must round as the one of qat.prepare: weights in steps of {quantizer.step}, "
                f"{'without' if quantizer.without_bias else 'with'} biases; {profile.name} does not"
            )
        if len(quantizer.scale) > 1 and quantizer.threshold is not None and profile.thresholds == "layer":
            raise ValueError(
                f"profile {profile.name} has one threshold per layer, qat.prepare made the net for one per channel"
            )
        if granularity is not None and isinstance(layer, fs.FiringLayer) and len(layer.weight) > 1:
            compared = layer is model.layers[-1] and model.compares_overshoots  # which has one scale in any case
            made_for = "channel" if len(quantizer.scale) > 1 else "tensor"
            if granularity != made_for and not compared:
                raise ValueError(
                    f"granularity must be {made_for!r}, for which qat.prepare made the net, got {granularity!r}"
                )


def master_copy(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The unrounded weight and bias of a layer with `FakeQuantize`; a bias that the profile lacks is zero."""
    quantizer, weight, bias = module.quantizer, module.weight, module.bias
    assert isinstance(quantizer, FakeQuantize) and isinstance(weight, Tensor)
    if not isinstance(bias, Tensor):
        return weight, None
    return weight, bias * 0 if quantizer.without_bias else bias
