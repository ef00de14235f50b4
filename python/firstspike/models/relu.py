"""The ReLU twin: the same net with ReLU neurons, the ceiling that a spiking net is compared with."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from .. import init
from .grammar import Conv, Pool
from .sizes import check_input_shape, layer_sizes


def relu_counterpart(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    pooling: str | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """The net of a string with ReLU in place of TTFS neurons: x, float32 [B, *input_shape], to logits [B, classes].

    The same sizes, kernels, padding and pools (earliest pooling becomes max pooling: the largest activation is the
    earliest spike), the same dropout, biases, no normalisation, and true He initialisation with biases of 0. Arguments
    and errors as in `build`.
    """
    sized = layer_sizes(spec, check_input_shape(input_shape), pooling)
    layers: list[nn.Module] = []
    for item in sized:
        token = item.token
        if isinstance(token, Conv):
            layers += [nn.Conv2d(item.inputs, item.outputs, token.kernel, padding=token.kernel // 2), nn.ReLU()]
        elif isinstance(token, Pool):
            layers.append(nn.AvgPool2d(token.factor) if token.kind == "avg" else nn.MaxPool2d(token.factor))
        else:
            if not any(isinstance(layer, nn.Flatten) for layer in layers):
                layers.append(nn.Flatten())
            if dropout and layers[:-1]:
                layers.insert(_behind_the_neurons(layers), nn.Dropout(dropout))
            layers.append(nn.Linear(item.inputs, item.outputs))
            if item is not sized[-1]:
                layers.append(nn.ReLU())
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            init.kaiming_(layer.weight, generator=generator)
            assert isinstance(layer.bias, Tensor)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def _behind_the_neurons(layers: list[nn.Module]) -> int:
    """Where units are dropped: a TTFS layer that pools its input by averages loses spikes before it pools."""
    place = len(layers)
    while isinstance(layers[place - 1], (nn.Flatten, nn.AvgPool2d)):
        place -= 1
    return place
