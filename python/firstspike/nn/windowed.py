"""Layers of windows: each integrates in its input's window and fires in its own, so that a time is a value of many levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import torch
from torch import Generator, Tensor, nn

from .. import functional
from .._base import checks
from .._base.geometry import padding_of
from ..functional import windowed
from ..ops.windowed import in_sites
from ..spikes import SpikeTimes
from .image_scaling import as_float
from .settings import NamedOptions, Settings


class WindowedEncoder(Settings):
    """Values in [0, 1] as spikes in a window, see `functional.windowed_encode`: images of 8 bits are exact with 255 steps.

    Parameters
    ----------
    steps : int
        Steps of the window, 1 to 255.
    padding : int or (vertical, horizontal)
        Pixels that are added at each border of maps.
    fill : float or sequence of float
        Their value, in [0, 1], for all channels or per channel: 0 of images that are normalised later.

    Examples
    --------
    >>> nn.WindowedEncoder()(torch.tensor([[255, 1, 0]], dtype=torch.uint8)).times
    tensor([[  0, 254, 255]], dtype=torch.uint8)
    """

    timing = "windowed"
    _settings = ("steps", "padding", "fill")

    def __init__(self, steps: int = 255, padding: int | tuple[int, int] = 0, fill: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        self.steps, self.padding = checks.window(steps), checks.pair("padding", padding, 0)
        self.fill = [checks.real("fill", x, 0, 1) for x in (fill if isinstance(fill, Sequence) else [fill])]

    def forward(self, x: Tensor) -> SpikeTimes:
        """Spikes of the shape of x, float32 [B, ...] in [0, 1] or uint8; with `padding` of larger maps."""
        if any(self.padding):
            (rows, columns), x = self.padding, as_float("x", x)
            fill = x.new_tensor(self.fill).view(-1, 1, 1)
            x = nn.functional.pad(x - fill, (columns, columns, rows, rows)) + fill
        return functional.windowed_encode(x, self.steps)


class SynapsesOptions(TypedDict, total=False):
    """Keyword arguments of all layers of windows."""

    avg_pool: int
    generator: Generator | None


class WindowedOptions(SynapsesOptions, total=False):
    """Keyword arguments of the layers of windows that fire."""

    steps: int
    normalization: bool
    clip: float | None
    clip_per_channel: bool
    momentum: float
    eps: float


class WindowedSynapses(Settings, NamedOptions):
    """Base of layers of windows: a weight, and its product with the values of spikes.

    quantizer: None, or what `emulator.qat.prepare` gave the layer: a module with forward(weight, bias, clip) -> (weight, bias)
    that rounds the layer's own in each pass; a readout's clip is None.
    """

    timing, fires = "windowed", False
    quantizer: nn.Module | None
    dropout: float = 0.0
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def __init__(self, shape: tuple[int, ...], *, avg_pool: int = 1, generator: Generator | None = None) -> None:
        super().__init__()
        self.avg_pool = checks.size("avg_pool", avg_pool)
        self.quantizer = None
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight, generator=generator)

    def current(self, spikes: SpikeTimes) -> Tensor:
        """The current W x of spikes of values x, float32 [B, O] or [B, O, H', W'], without bias and normalisation."""
        current = self._current(spikes, self._rounded()[0])
        return current if self.weight.dim() == 2 else current.permute(0, 3, 1, 2)

    def _current(self, spikes: SpikeTimes, weight: Tensor) -> Tensor:  # in site order
        how = self.avg_pool, self.stride, self.padding, self.groups
        if not (self.dropout and self.training):
            return windowed.current_of(spikes, weight, *how)
        spikes = windowed.dropped(spikes, self.dropout)
        return windowed.current_of(spikes, weight, *how) / (1 - self.dropout)

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as they act; the bias is None where there is none."""
        return self._rounded()

    def _rounded(self) -> tuple[Tensor, Any]:
        own = self.weight, getattr(self, "bias", None)
        return own if self.quantizer is None else self.quantizer(*own, getattr(self, "clip", None))

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        outputs, inputs, *kernel = self.weight.shape
        shared = {"avg_pool": self.avg_pool}
        if not kernel:
            return {"in_features": inputs, "out_features": outputs, "dropout": self.dropout} | shared
        sizes = {"in_channels": inputs * self.groups, "out_channels": outputs, "kernel_size": tuple(kernel)}
        return sizes | {"stride": self.stride, "padding": self.padding, "groups": self.groups} | shared


class WindowedReadout(WindowedSynapses):
    """Scores W x + bias of the values x of spikes: the potential of the last layer, which never fires.

    Parameters
    ----------
    in_features, out_features : int
        Maps [B, C, H, W] are flattened in the order C, H, W.
    avg_pool, dropout, generator : as in `WindowedLinear`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(2, 8, 4, 4, dtype=torch.uint8), steps=16)
    >>> nn.WindowedReadout(8 * 2 * 2, 10, avg_pool=2)(spikes).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        dropout: float = 0.0,
        **options: Unpack[SynapsesOptions],
    ) -> None:
        inputs, outputs = checks.size("in_features", in_features), checks.size("out_features", out_features)
        super().__init__((outputs, inputs), **options)
        self.dropout = checks.real("dropout", dropout, 0.0, 0.99)
        # Values are in units of clips of about 3 deviations: smaller weights would learn more slowly than in a ReLU net.
        nn.init.normal_(self.weight, std=3 / math.sqrt(inputs), generator=options.get("generator"))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Scores, float32 [B, out_features], of spikes [B, in_features] or maps [B, C, H, W]."""
        weight, bias = self._rounded()
        if self.dropout and self.training:
            return self._current(spikes, weight).add(bias)
        return windowed.current_of(spikes, weight, self.avg_pool, bias=bias)


class WindowedLayer(WindowedSynapses):
    """Base of the layers of windows that fire: batch normalisation or a bias, a clip, and T levels.

    a = clamp(floor(T v / clip + 1/2), 0, T) with v the normalised current; a neuron fires at T - a in the layer's own window.
    """

    fires = True
    running: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        steps: int,
        normalization: bool = True,
        clip: float | None = None,
        clip_per_channel: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
        **options: Unpack[SynapsesOptions],
    ) -> None:
        super().__init__(shape, **options)
        self.steps = checks.window(steps)
        self.momentum, self.eps = checks.real("momentum", momentum, 0.0, 1.0), checks.real("eps", eps, 0.0)
        outputs = shape[0]
        self.bias = nn.Parameter(torch.zeros(outputs))
        normal = checks.boolean("normalization", normalization)
        self.gamma = nn.Parameter(torch.ones(outputs)) if normal else None
        self.register_buffer("running", torch.stack([torch.zeros(outputs), torch.ones(outputs)]) if normal else None)
        first = default_clip(self.steps) if clip is None else checks.positive("clip", clip)
        clips = outputs if checks.boolean("clip_per_channel", clip_per_channel) else 1
        self.clip = nn.Parameter(torch.full((clips,), first))

    def forward(self, spikes: SpikeTimes, current: Tensor | None = None) -> SpikeTimes:
        """Spikes [B, O] or [B, O, H', W'] in the layer's window, of spikes in any other.

        current: float32 of the shape of the output, added to W x before the normalisation; a shortcut's.
        """
        (weight, bias), gamma, running = self._rounded(), self.gamma, self.running
        normalize = gamma is not None and self.training
        normal = None if normalize else running, gamma, bias, self.eps
        neurons = self.clip, self.steps, normal, normalize
        if current is None and self.training and not self.dropout and torch.is_grad_enabled():
            how = self.avg_pool, self.stride, self.padding, self.groups
            fired, made = windowed.layer_of(spikes, weight, how, *neurons)
        else:
            z = self._current(spikes, weight)
            if current is not None:
                current = in_sites(current)
                if current.shape != z.shape:
                    raise ValueError(f"current must have the shape of the output, {_shape(z)}, got {_shape(current)}")
                z = z + current
            fired, made = windowed.fired_of(z, *neurons)
        if normalize and running is not None:
            if fired.times.numel() < 2 * bias.shape[0]:
                raise ValueError(f"spikes must give two values per channel in training, got {tuple(spikes.shape)}")
            running.lerp_(made, self.momentum)
        return fired

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the normalisation by running statistics, which `fold` makes the layer's own."""
        (weight, bias), factor = self._rounded(), self.normalization_factor()
        if factor is None or self.running is None:
            return weight, bias
        return weight * factor.view(-1, *[1] * (weight.dim() - 1)), bias - self.running[0] * factor

    def normalization_factor(self) -> Tensor | None:
        """By what the normalisation with running statistics multiplies the current, [O]; None without normalisation."""
        return None if self.gamma is None or self.running is None else self.gamma / (self.running[1] + self.eps).sqrt()

    @torch.no_grad()
    def fold(self) -> None:
        """Put the normalisation with running statistics into weight and bias; the layer then has none."""
        if self.gamma is None:
            return
        for own, effective in zip((self.weight, self.bias), self.effective_weight_and_bias(), strict=True):
            own.copy_(effective)
        self.gamma = self.running = None

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """The weight or scale of a shortcut beside the layer, rounded by a quantizer that has a method `round_shortcut`."""
        rounded = getattr(self.quantizer, "round_shortcut", None)
        return shortcut if rounded is None else rounded(shortcut, self.clip)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again; `clip` is a parameter."""
        return super().settings() | {
            "steps": self.steps,
            "normalization": self.gamma is not None,
            "clip_per_channel": len(self.clip) > 1,
            "momentum": self.momentum,
            "eps": self.eps,
        }


class WindowedLinear(WindowedLayer):
    """Fully connected layer of windows: a ReLU layer with T + 1 levels, one spike per neuron at most.

    Parameters
    ----------
    in_features, out_features : int
        Maps [B, C, H, W] are flattened in the order C, H, W.
    steps : int
        T of the layer's own window, 1 to 255; the window of its input may differ.
    avg_pool : int
        Average pooling of maps by k x k before the product.
    dropout : float
        In training, the probability that a neuron of the input is silent; the others' current is divided by 1 - dropout.
    normalization : bool
        Batch normalisation, with running statistics in evaluation; False: a bias.
    clip : float
        The first clip, > 0, by default `default_clip`; learned. In standard deviations where currents are normalised.
    clip_per_channel : bool
        One clip per output instead of one.
    momentum, eps : float
        As in `torch.nn.BatchNorm1d`; the buffer `running`, [2, out_features], holds mean and biased variance.
    generator : torch.Generator
        Of the first weights.

    Examples
    --------
    >>> spikes = nn.WindowedEncoder()(torch.rand(4, 20))
    >>> nn.WindowedLinear(20, 30, steps=16)(spikes)
    SpikeTimes(shape=(4, 30), steps=16, silent=..., requires_grad=True)
    """

    def __init__(self, in_features: int, out_features: int, *, dropout: float = 0.0, **options: Unpack[WindowedOptions]) -> None:
        shape = checks.size("out_features", out_features), checks.size("in_features", in_features)
        super().__init__(shape, **options)
        self.dropout = checks.real("dropout", dropout, 0.0, 0.99)


class WindowedConv2d(WindowedLayer):
    """Convolution of windows, see `WindowedLinear`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), or "same"
    groups : int
        As in `torch.nn.Conv2d`; in_channels groups make a depthwise convolution.
    steps, avg_pool, normalization, clip, clip_per_channel, momentum, eps, generator : as in `WindowedLinear`.

    Examples
    --------
    >>> spikes = nn.WindowedEncoder()(torch.rand(4, 3, 8, 8))
    >>> nn.WindowedConv2d(3, 16, 3, padding=1, steps=16)(spikes).shape
    torch.Size([4, 16, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        groups: int = 1,
        **options: Unpack[WindowedOptions],
    ) -> None:
        inputs, outputs = checks.size("in_channels", in_channels), checks.size("out_channels", out_channels)
        groups, kernel = checks.size("groups", groups), checks.pair("kernel_size", kernel_size, 1)
        if inputs % groups or outputs % groups:
            raise ValueError(f"groups must divide in_channels and out_channels, {inputs} and {outputs}, got {groups}")
        super().__init__((outputs, inputs // groups, *kernel), **options)
        self.stride = checks.pair("stride", stride, 1)
        self.padding, self.groups = padding_of(padding, kernel, self.stride), groups


class WindowedShortcut(WindowedSynapses):
    """The 1x1 convolution of a residual block's shortcut: a current without bias, normalisation and separate spikes.

    In a net of `emulator.qat.prepare` the block's last layer rounds its weight.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int or (vertical, horizontal)
    avg_pool, generator : as in `WindowedLinear`, and in the block's first layer.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(2, 8, 6, 6, dtype=torch.uint8), steps=16)
    >>> nn.WindowedShortcut(8, 16, stride=2)(spikes).shape
    torch.Size([2, 16, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int | tuple[int, int] = 1,
        **options: Unpack[SynapsesOptions],
    ) -> None:
        shape = checks.size("out_channels", out_channels), checks.size("in_channels", in_channels), 1, 1
        super().__init__(shape, **options)
        self.stride = checks.pair("stride", stride, 1)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        shared = ("in_channels", "out_channels", "stride", "avg_pool")
        return {name: value for name, value in super().settings().items() if name in shared}

    def forward(self, spikes: SpikeTimes, last: WindowedLayer | None = None) -> Tensor:
        """The current [B, out_channels, H', W'] of spikes [B, in_channels, H, W]. last: the layer of the block that rounds it."""
        weight = self.weight if last is None else last.round_shortcut(self.weight)
        return self._current(spikes, weight).permute(0, 3, 1, 2)


class WindowedResidual(nn.Module):
    """Residual block of windows: the block's input adds to the current of its last layer, before the normalisation.

    The input is average pooled as in the first layer.

    Parameters
    ----------
    layers : sequence of modules
        The last one is a `WindowedLinear` or `WindowedConv2d`.
    shortcut : WindowedShortcut
        None: the input's values times `scale`, a parameter; the shapes must be equal.
    channels : int
        Numbers in `scale`: 1, or one per channel.

    Examples
    --------
    >>> layers = [nn.WindowedConv2d(8, 8, 3, padding=1, steps=16) for _ in range(2)]
    >>> nn.WindowedResidual(layers)(SpikeTimes(torch.zeros(2, 8, 6, 6, dtype=torch.uint8), steps=16)).shape
    torch.Size([2, 8, 6, 6])
    """

    scale: Tensor

    def __init__(self, layers: Sequence[nn.Module], shortcut: WindowedShortcut | None = None, *, channels: int = 1) -> None:
        super().__init__()
        checks.optional("shortcut", shortcut, WindowedShortcut, "a WindowedShortcut or None")
        self.layers = nn.ModuleList(layers)
        if not layers or not isinstance(layers[-1], WindowedLayer):
            raise TypeError("layers must end with a WindowedLinear or WindowedConv2d")
        self.shortcut: nn.Module | None = shortcut
        scale = nn.Parameter(torch.ones(checks.size("channels", channels))) if shortcut is None else None
        self.register_parameter("scale", scale)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the block can be built again, except its layers and shortcut."""
        return {} if self.shortcut is not None else {"channels": len(self.scale)}

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Spikes of the last layer."""
        *layers, last = self.layers
        assert isinstance(last, WindowedLayer)
        if self.shortcut is None:
            scale = last.round_shortcut(self.scale).view(-1, *[1] * (len(spikes.shape) - 2))
            side = functional.windowed_values(spikes, avg_pool=getattr(self.layers[0], "avg_pool", 1)) * scale
        else:
            side = self.shortcut(spikes, last)
        for layer in layers:
            spikes = layer(spikes)
        fired: SpikeTimes = last(spikes, side)
        return fired


class WindowedMaxPool2d(Settings):
    """The largest values of windows that may overlap, as `torch.nn.MaxPool2d`; `EarliestPool2d` is faster where they do not.

    Parameters
    ----------
    kernel_size, stride, padding : int or (vertical, horizontal)
        As in `torch.nn.MaxPool2d`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[[[3, 255, 1]]]], dtype=torch.uint8), steps=4)
    >>> nn.WindowedMaxPool2d((1, 2), 1)(spikes).times.flatten()
    tensor([3, 1], dtype=torch.uint8)
    """

    timing = "windowed"
    _settings = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else checks.pair("stride", stride, 1)
        self.padding = checks.pair("padding", padding, 0)

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Spikes [B, C, H', W'] of maps [B, C, H, W], in their window."""
        values = functional.windowed_values(spikes)
        pooled = nn.functional.max_pool2d(values, self.kernel_size, self.stride, self.padding)
        return functional.windowed_encode(pooled, spikes.steps)


def _shape(sites: Tensor) -> tuple[int, ...]:
    return tuple(sites.permute(0, 3, 1, 2).shape if sites.dim() == 4 else sites.shape)


def default_clip(steps: int) -> float:
    """The first clip of T levels for normalised currents: about the range of least error for half a normal distribution."""
    return min(4.0, 1.2 + 0.45 * math.log2(steps))
