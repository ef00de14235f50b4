"""Layers whose input are spikes: those that fire, fully connected and convolutional, and the readout that integrates."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import functional
from .._base import checks
from ..functional.layer import Sizes, accumulate, dense_current, fire_layer, full_precision, integrate_layer
from ..init import firing_gain
from ..spikes import SpikeTimes
from .firing import FiringLayer
from .pool import PooledSpikes
from .stepwise import StepSynapses
from .synapses import Convolution, FullyConnected, Spikes


class _OnSpikes(StepSynapses):
    """A layer whose input are spikes of any kind."""

    _dims: tuple[int, ...] = (2, 4)  # of spikes [B, ...]

    def _checked(self, spikes: Spikes) -> Spikes:
        if isinstance(spikes, SpikeTimes | PooledSpikes):
            steps, size = spikes.steps, spikes.shape
        elif isinstance(spikes, Tensor) and spikes.dim() > 2:
            spikes = checks.float32("spikes", spikes)
            steps, size = spikes.shape[0], spikes.shape[1:]
        else:
            got = f"a tensor of shape {tuple(spikes.shape)}" if isinstance(spikes, Tensor) else type(spikes).__name__
            raise TypeError(f"spikes must be SpikeTimes (or PooledSpikes, or a dense train [steps, batch, ...]), got {got}")
        if steps != self.steps:
            hint = ", the first size of a dense train [steps, batch, ...]" if isinstance(spikes, Tensor) else ""
            raise ValueError(f"spikes must have the layer's steps = {self.steps}, got {steps}{hint}")
        if len(size) not in self._dims:
            flat = "[batch, neurons] or " if 2 in self._dims else ""
            raise ValueError(f"spikes must have shape {flat}[batch, channels, height, width], got {tuple(size)}")
        return spikes

    def _input(self, spikes: Spikes) -> tuple[SpikeTimes | Tensor, Tensor, Tensor | None, Sizes]:
        """(spikes, weight, bias, sizes) of a pass, after dropout and without `PooledSpikes`."""
        weight, bias = self.effective_weight_and_bias()
        spikes, weight = self.drop(self._checked(spikes), weight)
        spikes, weight, sizes = self._plain(spikes, weight)
        return spikes, weight, bias, sizes

    def _plain(self, spikes: Spikes, weight: Tensor) -> tuple[SpikeTimes | Tensor, Tensor, Sizes]:
        """(spikes, weight, sizes) with the same current and without `PooledSpikes`.

        The maximum over a window of distinct spikes is their sum, k x k times their average. With another pool after it, the
        train becomes a dense one.
        """
        if not isinstance(spikes, PooledSpikes):
            return spikes, weight, Sizes(self.avg_pool, self.stride, self.padding)
        if self.avg_pool != 1:
            return spikes.dense(), weight, Sizes(self.avg_pool, self.stride, self.padding)
        return spikes.distinct, weight * spikes.kernel_size**2, Sizes(spikes.kernel_size, self.stride, self.padding)


class _TTFS(_OnSpikes, FiringLayer):
    """A layer that takes spikes and fires."""

    def _usual_gain(self) -> float:
        return firing_gain(self.avg_pool, self.steps, self.decay, self.synaptic_decay)

    def forward(
        self,
        spikes: Spikes,
        shortcut: SpikeTimes | None = None,
        *,
        shortcut_scale: float | Tensor = 1.0,
        membrane: bool = False,
    ) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Return the spike times of `spikes`; with `membrane` also V of this very pass, see `membrane`.

        `TTFSLinear` gives [B, O] for [B, N] or [B, C, H, W], `TTFSConv2d` [B, O, H', W'] for [B, C, H, W]. `spikes` may be
        `PooledSpikes`, as `MaxPool2d` returns them, or a dense train [T, B, ...], which takes the dense path. shortcut and
        shortcut_scale are as in `functional.linear`; dropout leaves the shortcut alone.
        """
        checks.boolean("membrane", membrane)
        options: dict[str, Any] = self.neuron._asdict()
        if shortcut is not None:
            checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes where a layer has a shortcut")
            options |= {"shortcut": shortcut, "shortcut_scale": self.effective_shortcut_scale(shortcut_scale)}
        spikes, weight, bias, sizes = self._input(spikes)
        if isinstance(spikes, Tensor):
            current = dense_current(spikes, weight, bias, sizes)
            fired = SpikeTimes._of_fired(functional.fire(current, **options))
            return (fired, accumulate(current, self.decay, self.synaptic_decay)) if membrane else fired
        with full_precision(weight.device):
            fired, v = fire_layer(spikes, weight, bias, sizes, **options, with_membrane=membrane)
        return fired if v is None else (fired, v)

    def membrane(self, spikes: Spikes) -> Tensor:
        """Return the potential V, float32 [T, B, O] or [T, B, O, H', W'], exact up to each neuron's spike; then without reset.

        It is in units of `theta` if the layer has one threshold per neuron. Nothing is dropped. A convolution takes the dense
        path.
        """
        weight, bias = self.effective_weight_and_bias()
        spikes, weight, sizes = self._plain(self._checked(spikes), weight)
        return integrate_layer(spikes, weight, bias, sizes, self.decay, self.synaptic_decay)


class TTFSLinear(FullyConnected, _TTFS):
    """Fully connected TTFS layer: X[t] = gamma (W s[t]) + beta, and each neuron fires once, where V >= threshold.

    Takes spikes [B, in_features], or maps [B, C, H, W] with in_features after pooling, and returns SpikeTimes
    [B, out_features] (see `forward`).

    Parameters
    ----------
    in_features, out_features : N and O.
    steps : T, 1 to 254.
    avg_pool : average pooling of input maps by k x k before they are flattened in the order C, H, W. It costs nothing, as an
        event enters with weight W / k^2.
    threshold, surrogate : as in `FiringLayer`.
    decay, synaptic_decay : as in `TTFSNode`.
    bias : whether the layer has beta, a current that is added in every step.
    affine : "channel" for one gamma and beta per output, "layer" for one each, None for no gamma.
    gain : of ETTFS-init and normalisation, > 0: by default 1 where the paper's derivation holds, else ours, see `init.ettfs_`.
    init, generator : as in `reset_parameters`.
    normalization : True for `WeightNormalization` of the whole weight, "channel" for one of each output's weights, False for
        none, or a custom module with forward(weight, gamma) -> gamma times the weight that acts; gamma is [O], [1] or None.
        It is the submodule `normalization`, and may be replaced or removed later.
    dropout : as in `Synapses`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
    >>> TTFSLinear(8 * 3 * 3, 10, avg_pool=2, steps=8)(spikes).shape
    torch.Size([4, 10])
    """


class TTFSConv2d(Convolution, _TTFS):
    """Convolutional TTFS layer, see `TTFSLinear`.

    Takes spikes [B, in_channels, H, W], pooled by `avg_pool` first, and returns SpikeTimes [B, out_channels, H', W'], with H' and
    W' as of `torch.nn.Conv2d` on the pooled map.

    Parameters
    ----------
    in_channels, out_channels : of the maps.
    kernel_size, stride : at least 1; each size is an int or a pair (vertical, horizontal).
    padding : at least 0, or "same" for odd kernels without a stride.
    steps, avg_pool, dropout, threshold, surrogate, decay, synaptic_decay : as in `TTFSLinear`.
    bias, affine, gain, init, normalization, generator : as in `TTFSLinear`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
    >>> TTFSConv2d(8, 16, 3, padding=1, steps=8, normalization=True)(spikes).shape
    torch.Size([4, 16, 6, 6])
    """

    _dims = (4,)


class Integrate(FullyConnected, _OnSpikes):
    """Output layer of a membrane readout: V[t] = decay V[t - 1] + gamma (W s[t]) + beta, without a threshold.

    `gain` is 1 / sqrt(T): the potential sums the currents of T steps, and the last potential has variance 1 (ours). With a
    synaptic current it is `init.synaptic_gain`.

    Parameters
    ----------
    in_features, out_features, steps, avg_pool, dropout, decay, synaptic_decay : as in `TTFSLinear`.
    bias, affine, gain, init, normalization, generator : as in `TTFSLinear`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 64, dtype=torch.uint8), steps=8)
    >>> Integrate(64, 10, steps=8)(spikes).shape
    torch.Size([8, 4, 10])
    """

    def forward(self, spikes: Spikes) -> Tensor:
        """Return the membrane, float32 [T, B, O], of spikes of any kind, [B, N] or [B, C, H, W]."""
        return integrate_layer(*self._input(spikes), self.decay, self.synaptic_decay)
