"""A layer's CPU kernels called through their bindings alone: no operator, autograd or allocation of torch between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from firstspike import SpikeTimes
from firstspike._base.geometry import Geometry, layer_geometry
from firstspike._base.kernels import cpu
from firstspike.functional import layer as layer_call
from firstspike.nn import TTFSConv2d, TTFSLinear
from firstspike.ops._support import array, support_of

Layer = TTFSLinear | TTFSConv2d
Call = Callable[[], Tensor | None]


@dataclass(frozen=True)
class LayerKernels:
    """The forward pass and both gradients of `layer` for the input `x`, each as a call that can be timed; it returns its
    result, which the next call overwrites.

    x: SpikeTimes as the layer takes them; for `input_gradient` they must carry the support of the layer that made them.
    output: what the layer's forward pass on `x` gave, with its support.
    """

    layer: Layer
    x: SpikeTimes
    output: SpikeTimes

    @property
    def geometry(self) -> Geometry:
        """As the kernels take it."""
        return layer_geometry(self.layer, self.x.shape, self._weight_and_bias()[0])

    def forward(self, *, record: bool = True) -> Call:
        """The forward pass; record: with the support, as in training."""
        layer, (weight, bias) = self.layer, self._weight_and_bias()
        times, *_ = layer_call.input_of(self.x)
        fired = torch.empty(self.geometry.out_shape, dtype=torch.uint8)
        assert isinstance(layer.threshold, float)  # one per neuron is folded into the weight
        neuron = layer_call.neuron_of(layer.threshold, layer.decay, layer.surrogate)
        arguments = (list(self.geometry), neuron, array(times), array(weight), array(bias), record)
        threads, target = torch.get_num_threads(), array(fired)

        def call() -> Tensor:
            cpu.fire_layer(*arguments, threads, target)
            return fired

        return call

    def weight_gradient(self) -> Call:
        """dL/dW, for a random gradient at the output's support."""
        weight, _ = self._weight_and_bias()
        return self._gradients(None, torch.empty(weight.shape))

    def input_gradient(self) -> Call:
        """dL/ds at the support of the layer that made the input."""
        support = self.x._support
        assert support is not None
        return self._gradients(torch.empty(len(support.slope)), None)

    def _gradients(self, at_input: Tensor | None, at_weight: Tensor | None) -> Call:
        weight, _ = self._weight_and_bias()
        times, *_ = layer_call.input_of(self.x)
        made, before = self.output._support, self.x._support
        assert made is not None
        gradient = torch.randn(len(made.slope), generator=torch.Generator().manual_seed(0))
        arguments = (
            list(self.geometry),
            (0.0, self.layer.decay, 0, 1.0),
            array(times),
            array(weight),
            support_of(made.offset, made.place),
            array(made.slope),
            array(gradient),
            None if at_input is None or before is None else support_of(before.offset, before.place),
            torch.get_num_threads(),
            array(at_input),
            array(at_weight),
            None,
        )

        def call() -> Tensor | None:
            cpu.layer_gradients(*arguments)
            return at_input if at_weight is None else at_weight

        return call

    def _weight_and_bias(self) -> tuple[Tensor, Tensor]:
        weight, bias = self.layer.effective_weight_and_bias()
        assert bias is not None
        return weight.detach(), bias.detach()
