"""`run_chain`: layers one after another as one node of autograd, for training on the CPU.

Layer by layer each operator is a node of its own, and what Python and autograd do between two kernels costs a tenth of a small
net's step. Here the same CPU implementations are called one after another: the same bits, and the tensors that are saved are
those that the single operators save, and the biases. It is no operator: whoever looks at operators gets the layers one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._base.geometry import Geometry
from . import dropout, integrate, layer, normalize
from ._eager import bypasses_dispatcher
from ._first_order import first_order_only
from ._library import TILES


class Stage(NamedTuple):
    """A layer of a chain, beside its weight, gamma and bias."""

    geometry: Geometry
    neuron: tuple[float, float, float, float]  # as `fire_layer` takes it
    fires: bool  # else it integrates, and is the last one
    deviation: float | None = None  # of the normalised weight; None: the weight acts as it is
    per_output: bool = False  # whether each output's weights are normalised on their own
    dropped: float = 0.0  # the probability with which a spike of the input is missing
    seed: Tensor | None = None  # decides which spikes are missing

    @property
    def keep(self) -> int:
        """What the dropout operators take for `dropped`."""
        return dropout.levels(1 - self.dropped)


class _Saved(NamedTuple):
    """What the backward pass of a stage needs."""

    times: Tensor  # those of the input that are left
    in_offset: Tensor | None
    in_place: Tensor | None
    acting: Tensor  # the weight that acts
    weight: Tensor | None  # the one that is normalised, if it is
    gamma: Tensor | None
    moments: Tensor | None
    offset: Tensor | None  # the support of the output, if it fires
    slope: Tensor | None
    place: Tensor | None


_SAVED, _PARAMETERS = len(_Saved._fields), 3


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, stages: Sequence[Stage], source: tuple[Tensor, Tensor | None, Tensor | None], *tensors: Any
    ) -> Any:
        times, in_offset, in_place = source
        saved: list[Tensor | None] = []
        output: tuple[Tensor, ...] = ()
        for number, stage in enumerate(stages):
            weight, gamma, bias = tensors[1 + number * _PARAMETERS :][:_PARAMETERS]
            acting, moments, raw = weight, None, None
            if stage.deviation is not None:
                raw = weight
                acting, moments = normalize._forward(weight, gamma, stage.deviation, stage.per_output)
            if stage.seed is not None:
                acting = acting / (1 - stage.dropped)
                times = dropout._forward(times, None, in_offset, in_place, stage.seed, stage.keep)[1]
            arguments = times, None, in_offset, in_place, acting, bias, stage.geometry
            kept = times, in_offset, in_place, acting, raw, gamma, moments
            if stage.fires:
                output = layer._forward(*arguments, stage.neuron, True, TILES["cpu"])
                _, times, in_offset, slope, in_place = output
                saved += _Saved(*kept, in_offset, slope, in_place)
            else:
                output = (integrate._forward(*arguments, stage.neuron[1]),)
                saved += _Saved(*kept, None, None, None)
        ctx.stages = stages
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        # The anchor and the biases, for `first_order_only` alone: with the weights they lead to every input.
        ctx.save_for_backward(*saved, tensors[0], *tensors[_PARAMETERS::_PARAMETERS])
        return output

    @staticmethod
    @first_order_only
    def backward(ctx: Any, tensors: Sequence[Any], gradient: Tensor | None, *_: Any) -> Any:
        stages: Sequence[Stage] = ctx.stages
        needs = ctx.needs_input_grad[2:]  # the anchor's, then three per stage
        made: list[Tensor | None] = [None] * len(needs)
        for number in reversed(range(len(stages) if gradient is not None else 0)):
            stage, s = stages[number], _Saved(*tensors[number * _SAVED :][:_SAVED])
            first = 1 + number * _PARAMETERS
            own = needs[first : first + _PARAMETERS]
            wanted = [any(needs[:first]), own[0] or own[1], own[2]]
            at_input, at_acting, at_bias = _gradients(stage, s, gradient, wanted)
            if wanted[1]:
                made[first : first + 2] = _through_weight(stage, s, at_acting)
            made[first + 2] = at_bias if own[2] else None
            if not wanted[0]:
                break
            gradient = at_input
            if stage.seed is not None:
                gradient = dropout.dropout_backward(
                    gradient, s.in_offset, s.in_place, stage.seed, s.times.shape, stage.keep
                )
            made[0] = gradient if number == 0 else None
        return None, None, *made


_run: Callable[..., Any] = _Chain.apply


def _gradients(stage: Stage, s: _Saved, gradient: Tensor | None, wanted: Sequence[bool]) -> tuple[Tensor, ...]:
    """Those at the input's anchor, at the weight that acts and at the bias; empty where they are not wanted."""
    source, decay = (s.times, s.in_offset, s.in_place, s.acting), stage.neuron[1]
    made: tuple[Tensor, ...]
    if stage.fires:
        support = s.offset, s.slope, s.place
        made = layer.fire_layer_backward(gradient, *source, *support, stage.geometry, decay, wanted)
    else:
        made = integrate.integrate_layer_backward(gradient, *source, stage.geometry, decay, wanted)
    return made


def _through_weight(stage: Stage, s: _Saved, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
    """The gradients at a stage's weight and gamma, from the gradient at the weight that acts."""
    if stage.seed is not None:
        gradient = gradient / (1 - stage.dropped)
    if stage.deviation is None:
        return gradient, None
    at_weight, at_gamma = normalize.normalize_weight_backward(
        gradient, s.weight, s.gamma, s.moments, stage.deviation, stage.per_output
    )
    return at_weight, at_gamma if s.gamma is not None else None


def runs_as_one(*tensors: Tensor | None) -> bool:
    """Whether a chain of these tensors may be one call: nobody looks at operators, and a gradient is recorded."""
    return torch.is_grad_enabled() and bypasses_dispatcher(*tensors)


def run_chain(
    stages: Sequence[Stage],
    source: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None],
    parameters: Sequence[Tensor | None],
) -> tuple[Tensor, ...]:
    """What `fire_layer` returns of the last layer, or the membranes [T, B, H, W, C] of one that integrates, as a tuple.

    source: (times, anchor, offset, place) of the first layer's input, as for `fire_layer`. parameters: (weight, gamma, bias) of
    each stage, one after another. Only where `runs_as_one` holds for all these tensors, and each weight requires a gradient.
    """
    times, anchor, in_offset, in_place = source
    result: tuple[Tensor, ...] = _run(stages, (times, in_offset, in_place), anchor, *parameters)
    return result
