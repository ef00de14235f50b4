"""Layers of windows: each integrates in its input's window and fires in its own, so that a time is a value of many levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self, Unpack

import torch
from torch import Generator, Tensor, nn

from .. import functional
from .._base import checks
from ..functional import windowed
from ..ops.windowed import Neurons, Product, in_sites
from ..spikes import SpikeTimes
from .image_scaling import as_float
from .settings import Settings
from .synapses import Convolution, FullyConnected, LayerOptions, Pair, Synapses


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

    timing, unit_range = "windowed", True

    def __init__(self, steps: int = 255, padding: int | Pair = 0, fill: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        self.steps, self.padding = checks.window(steps), checks.pair("padding", padding, 0)
        self.fill = [checks.real("fill", x, 0, 1) for x in (fill if isinstance(fill, Sequence) else [fill])]

    def forward(self, x: Tensor) -> SpikeTimes:
        """Return spikes of the shape of x, float32 [B, ...] in [0, 1] or uint8; `padding` makes maps larger.

        Values outside [0, 1] are refused on the CPU; on other devices they count as the nearest end.
        """
        if x.is_floating_point():
            checks.unit_range("x", x)
        if any(self.padding):
            (rows, columns), x = self.padding, as_float("x", x)
            fill = x.new_tensor(self.fill).view(-1, 1, 1)
            x = nn.functional.pad(x - fill, (columns, columns, rows, rows)) + fill
        return functional.windowed_encode(x, self.steps)


class WindowedSynapses(Synapses):
    """Base of layers of windows: the product of a weight with the values of spikes."""

    timing = "windowed"

    def __init__(self, shape: tuple[int, ...], *, generator: Generator | None = None, **options: Any) -> None:
        super().__init__(shape, **options)
        nn.init.kaiming_normal_(self.weight, generator=generator)

    def current(self, spikes: SpikeTimes) -> Tensor:
        """Return the current W x of spikes of values x, float32 [B, O] or [B, O, H', W'], without what `neuron` adds to it."""
        current = self._current(spikes, self._weight_and_bias()[0])
        return current if self.weight.dim() == 2 else current.permute(0, 3, 1, 2)

    def _weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of this pass, without the normalisation that the neurons do."""
        return self._rounded(self._tied_weight(), self.bias)

    def _current(self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # in site order
        spikes, weight = self.drop(spikes, weight)  # type: ignore[assignment]
        return windowed.current_of(spikes, weight, self._product(), bias)

    def _product(self) -> Product:
        return Product(self.avg_pool, self.stride, self.padding, self.groups)


class WindowedReadout(FullyConnected, WindowedSynapses):
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

    def __init__(self, in_features: int, out_features: int, **options: Unpack[LayerOptions]) -> None:
        super().__init__(in_features, out_features, **options)
        # Values are in units of clips of about 3 deviations: smaller weights would learn more slowly than in a ReLU net.
        nn.init.normal_(self.weight, std=3 / math.sqrt(in_features), generator=options.get("generator"))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Return scores, float32 [B, out_features], of spikes [B, in_features] or maps [B, C, H, W]."""
        return self._current(spikes, *self.effective_weight_and_bias())


class WindowedLayer(WindowedSynapses):
    """Base of the layers of windows that fire: batch normalisation or a bias, a clip, and T levels.

    a = clamp(floor(T v / clip + 1/2), 0, T) with v the normalised current; a neuron fires at T - a in the layer's own window.
    """

    fires = True
    running: Tensor | None
    bias: Tensor

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
        **options: Any,  # of `WindowedSynapses`
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

    @property
    def neuron(self) -> Neurons:
        """The neurons as they are in this mode: in training they normalise by the batch, else by running statistics.

        A rounded weight has the running statistics in it in evaluation, and its neurons do not normalise.
        """
        return self._neurons(self._weight_and_bias()[1])

    @property
    def _rounds_normalized(self) -> bool:
        """Whether a quantizer rounds the weight with the normalisation by running statistics in it."""
        return self.quantizer is not None and self.gamma is not None

    def _neurons(self, bias: Tensor | None) -> Neurons:
        if self.gamma is None or (self._rounds_normalized and not self.training):
            return Neurons(self.clip, self.steps, None, bias, None, self.eps, False)
        return Neurons(self.clip, self.steps, self.gamma, bias, None if self.training else self.running, self.eps, self.training)

    def _weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        if not self._rounds_normalized:
            return super()._weight_and_bias()
        if not self.training:
            return self.effective_weight_and_bias()
        return self._round_normalized(self._tied_weight(), lambda weight: self._rounded(weight, self.bias)[0]), self.bias

    def _round_normalized(self, weight: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
        """A weight whose product with the factor of the normalisation is rounded; the factor counts as a constant."""
        with torch.no_grad():
            factor = self.normalization_factor()
            assert factor is not None
            factor = torch.where(factor == 0, 1, factor).view(-1, *[1] * (weight.dim() - 1))
        return rounded(weight * factor) / factor

    def forward(self, spikes: SpikeTimes, current: Tensor | None = None) -> SpikeTimes:
        """Return spikes [B, O] or [B, O, H', W'] in the layer's window, of spikes in any other.

        current: that of a shortcut, float32 of the shape of the output; it is added to W x before the normalisation.
        """
        weight, bias = self._weight_and_bias()
        neurons = self._neurons(bias)
        if current is None and self.training and torch.is_grad_enabled():
            spikes, weight = self.drop(spikes, weight)  # type: ignore[assignment]
            fired, moments = windowed.layer_of(spikes, weight, self._product(), neurons)
        else:
            z = self._current(spikes, weight)
            if current is not None:
                current = in_sites(current)
                if current.shape != z.shape:
                    raise ValueError(f"current must have the shape of the output, {_shape(z)}, got {_shape(current)}")
                z = z + current
            fired, moments = windowed.fired_of(z, neurons)
        if neurons.batch and self.running is not None:
            if fired.times.numel() < 2 * len(weight):
                raise ValueError(
                    "spikes must give two values per channel in training, for the normalisation, got those of shape "
                    f"{tuple(spikes.shape)}; take a batch size that leaves no single sample over"
                )
            self.running.lerp_(moments, self.momentum)
        return fired

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the normalisation by running statistics in them, rounded by a quantizer."""
        weight, bias, factor = self._tied_weight(), self.bias, self.normalization_factor()
        if factor is not None and self.running is not None:
            weight, bias = weight * factor.view(-1, *[1] * (weight.dim() - 1)), bias - self.running[0] * factor
        weight, bias = self._rounded(weight, bias)  # type: ignore[assignment]
        return weight, bias

    def normalization_factor(self) -> Tensor | None:
        """Return the factor of the current by the running statistics, [O]; None without normalisation."""
        return None if self.gamma is None or self.running is None else self.gamma / (self.running[1] + self.eps).sqrt()

    def effective_shortcut_scale(self, shortcut: Tensor) -> Tensor:
        """Return the weight or scale of a shortcut that goes with `effective_weight_and_bias`."""
        factor = self.normalization_factor()
        return super().round_shortcut(shortcut if factor is None else shortcut * factor.view(-1, *[1] * (shortcut.dim() - 1)))

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """As `Synapses.round_shortcut`, as `forward` takes it: in evaluation with the normalisation in it, if it is rounded.

        `effective_shortcut_scale` has the normalisation in it always.
        """
        if not self._rounds_normalized:
            return super().round_shortcut(shortcut)
        if self.training:
            return self._round_normalized(shortcut, super().round_shortcut)
        return self.effective_shortcut_scale(shortcut)

    def fold(self) -> Self:
        """As `Synapses.fold`, up to rounding; the normalisation is that by running statistics."""
        super().fold()
        self.gamma = self.running = None
        return self

    def settings(self) -> dict[str, Any]:
        """As `Settings.settings`."""
        parameters = {"normalization": self.gamma is not None, "clip_per_channel": len(self.clip) > 1}
        return {name: parameters.get(name, value) for name, value in super().settings().items()}


class WindowedLinear(FullyConnected, WindowedLayer):
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
        True for batch normalisation, with running statistics in evaluation; False for a bias.
    clip : float
        The clip before training, > 0, by default `default_clip`; it is learned. Its unit is the standard deviation where currents
        are normalised.
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


class WindowedConv2d(Convolution, WindowedLayer):
    """Convolution of windows, see `WindowedLinear`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), or "same"
    groups : int
        As in `torch.nn.Conv2d`; in_channels groups make a depthwise convolution.
    steps, avg_pool, dropout, normalization, clip, clip_per_channel, momentum, eps, generator : as in `WindowedLinear`.

    Examples
    --------
    >>> spikes = nn.WindowedEncoder()(torch.rand(4, 3, 8, 8))
    >>> nn.WindowedConv2d(3, 16, 3, padding=1, steps=16)(spikes).shape
    torch.Size([4, 16, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Pair, *, groups: int = 1, **options: Any) -> None:
        self.groups = checks.size("groups", groups)
        super().__init__(in_channels, out_channels, kernel_size, **options)


class WindowedAvgPool2d(WindowedConv2d):
    """Average pooling by neurons that each send one spike of the mean of their window, without overlap.

    An average pool in the layer after it (`avg_pool`) gets every spike of the window. This one sends at most one, for T further
    steps. It is a convolution of each channel whose weights, 1 over the window's size, are not trained; its clip is, from 1 on.

    Parameters
    ----------
    channels : int
    kernel_size : int or (rows, columns)
        A remainder at the lower and right edge is dropped.
    steps, clip, clip_per_channel : as in `WindowedLinear`.
    generator : torch.Generator
        As in all layers with a weight; the values of this one do not depend on it.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[[[0, 2], [4, 6]]]], dtype=torch.uint8), steps=8)
    >>> nn.WindowedAvgPool2d(1, 2, steps=8)(spikes).times.flatten()
    tensor([3], dtype=torch.uint8)
    """

    _fixed = ("stride", "padding", "groups", "avg_pool", "dropout", "normalization", "momentum", "eps")

    def __init__(self, channels: int, kernel_size: int | Pair, *, clip: float = 1.0, **options: Any) -> None:
        self.channels = checks.size("channels", channels)
        places: dict[str, Any] = {"stride": kernel_size, "groups": channels}
        super().__init__(channels, channels, kernel_size, **places, clip=clip, normalization=False, **options)
        nn.init.constant_(self.weight, 1 / self.weight[0].numel())
        self._freeze()

    def _freeze(self) -> None:
        for parameter in (self.weight, self.bias):
            parameter.requires_grad_(False)

    def fold(self) -> Self:
        """As `Synapses.fold`; weight and bias stay as they are in training."""
        super().fold()
        self._freeze()
        return self


class WindowedShortcut(Convolution, WindowedSynapses):
    """The 1x1 convolution of a residual block's shortcut: a current without bias, normalisation and separate spikes.

    In a net of `emulator.qat.prepare` the block's last layer rounds its weight.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int or (vertical, horizontal)
    avg_pool, dropout, generator : as in `WindowedLinear`; `avg_pool` as in the block's first layer.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(2, 8, 6, 6, dtype=torch.uint8), steps=16)
    >>> nn.WindowedShortcut(8, 16, stride=2)(spikes).shape
    torch.Size([2, 16, 3, 3])
    """

    _fixed = ("padding",)

    def __init__(self, in_channels: int, out_channels: int, *, stride: int | Pair = 1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(in_channels, out_channels, 1, stride=stride, padding=0, **options)

    def forward(self, spikes: SpikeTimes, last: WindowedLayer | None = None) -> Tensor:
        """Return the current [B, out_channels, H', W'] of spikes [B, in_channels, H, W]. last: the layer that rounds it."""
        weight, _ = self.effective_weight_and_bias()
        weight = weight if last is None else last.round_shortcut(weight)
        return self._current(spikes, weight).permute(0, 3, 1, 2)


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

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else checks.pair("stride", stride, 1)
        self.padding = checks.pair("padding", padding, 0)

    def forward(self, spikes: SpikeTimes) -> SpikeTimes:
        """Return spikes [B, C, H', W'] of maps [B, C, H, W], in the window of the maps."""
        values = functional.windowed_values(spikes)
        pooled = nn.functional.max_pool2d(values, self.kernel_size, self.stride, self.padding)
        return windowed.encoded(pooled, spikes.steps)


def _shape(sites: Tensor) -> tuple[int, ...]:
    return tuple(sites.permute(0, 3, 1, 2).shape if sites.dim() == 4 else sites.shape)


def default_clip(steps: int) -> float:
    """Return the first clip of T levels for normalised currents: about that of least error for half a normal distribution."""
    return min(4.0, 1.2 + 0.45 * math.log2(steps))
