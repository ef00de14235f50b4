"""Layers whose input are spikes: those that fire, fully connected and convolutional, and the readout that integrates."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from .. import functional
from .._base import checks
from ..functional.layer import Sizes, accumulate, dense_current, fire_layer, full_precision, integrate_layer
from ..init import firing_gain, synaptic_gain
from ..spikes import SpikeTimes
from .firing import FiringLayer, FiringOptions, Leaky
from .pool import PooledSpikes
from .sizes import Convolution, FullyConnected, LayerOptions
from .synapse import Spikes, Synapse, SynapseOptions


class _OnSpikes(Synapse):
    """A layer whose input are spikes of any kind."""

    avg_pool: int
    _dims: tuple[int, ...] = (2, 4)  # of spikes [B, ...]

    def __init__(
        self,
        shape: tuple[int, ...],
        gain: float,
        *,
        steps: int,
        avg_pool: int = 1,
        dropout: float = 0.0,
        **options: Unpack[SynapseOptions],
    ) -> None:
        self.avg_pool = checks.size("avg_pool", avg_pool)
        super().__init__(shape, gain, steps=steps, **options)
        self.dropout = dropout

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

    def _moves(self, avg_pool: int) -> Sizes:
        return Sizes(avg_pool)

    def _plain(self, spikes: Spikes, weight: Tensor) -> tuple[SpikeTimes | Tensor, Tensor, Sizes]:
        """(spikes, weight, sizes) with the same current and without `PooledSpikes`.

        The maximum over a window of distinct spikes is their sum, k x k times their average. With another pool after it, the
        train becomes a dense one.
        """
        if not isinstance(spikes, PooledSpikes):
            return spikes, weight, self._moves(self.avg_pool)
        if self.avg_pool != 1:
            return spikes.dense(), weight, self._moves(self.avg_pool)
        return spikes.distinct, weight * spikes.kernel_size**2, self._moves(spikes.kernel_size)


class _TTFS(_OnSpikes, FiringLayer):
    """A layer that takes spikes and fires."""

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        steps: int,
        avg_pool: int = 1,
        gain: float | None = None,
        dropout: float = 0.0,
        **options: Unpack[FiringOptions],
    ) -> None:
        if gain is None:
            decays = options.get("decay", 1.0), options.get("synaptic_decay", 0.0)
            gain = firing_gain(avg_pool, steps, *decays)
        checks.positive("gain", gain)
        super().__init__(shape, gain, steps=steps, avg_pool=avg_pool, dropout=dropout, **options)  # type: ignore[misc]  # of FiringLayer

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
        spikes, weight, bias = self.prepare_input(self._checked(spikes))
        side: dict[str, Any] = {}
        if shortcut is not None:
            checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes where a layer has a shortcut")
            side = {"shortcut": shortcut, "shortcut_scale": self.effective_shortcut_scale(shortcut_scale)}
        spikes, weight, sizes = self._plain(spikes, weight)
        if isinstance(spikes, Tensor):
            current = dense_current(spikes, weight, bias, sizes)
            fired = SpikeTimes._of_fired(functional.fire(current, **self.neuron))
            return (fired, accumulate(current, self.decay, self.synaptic_decay)) if membrane else fired
        with full_precision(weight.device):
            fired, v = fire_layer(spikes, weight, bias, sizes, **self.neuron, **side, with_membrane=membrane)
        return fired if v is None else (fired, v)

    def membrane(self, spikes: Spikes) -> Tensor:
        """Return the potential V, float32 [T, B, O] or [T, B, O, H', W'], exact up to each neuron's spike; then without reset.

        It is in units of `theta` if the layer has one threshold per neuron. Nothing is dropped. A convolution takes the dense
        path.
        """
        weight, bias = self.effective_weight_and_bias()
        spikes, weight, sizes = self._plain(self._checked(spikes), weight)
        return integrate_layer(spikes, weight, bias, sizes, self.decay, self.synaptic_decay)

    def settings(self) -> dict[str, Any]:
        """As `FiringLayer.settings`."""
        usual = firing_gain(self.avg_pool, self.steps, self.decay, self.synaptic_decay)
        return super().settings() | ({} if self.gain == usual else {"gain": self.gain})


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
    gain : of ETTFS-init and normalisation, > 0, by default `init.firing_gain`.
    threshold, decay, surrogate, synaptic_decay : as in `FiringLayer`.
    bias, affine, init, normalization, dropout, generator : as in `Synapse`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
    >>> TTFSLinear(8 * 3 * 3, 10, avg_pool=2, steps=8)(spikes).shape
    torch.Size([4, 10])
    """

    _sizes = (*FullyConnected._sizes, "avg_pool")


class TTFSConv2d(Convolution, _TTFS):
    """Convolutional TTFS layer, see `TTFSLinear`.

    Takes spikes [B, in_channels, H, W], pooled by `avg_pool` first, and returns SpikeTimes [B, out_channels, H', W'], with H' and
    W' as of `torch.nn.Conv2d` on the pooled map.

    Parameters
    ----------
    in_channels, out_channels : of the maps.
    kernel_size, stride : at least 1; each size is an int or a pair (vertical, horizontal).
    padding : at least 0, or "same" for odd kernels without a stride.
    steps, avg_pool, gain, threshold, decay, surrogate, synaptic_decay : as in `TTFSLinear`.
    bias, affine, init, normalization, dropout, generator : as in `Synapse`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
    >>> TTFSConv2d(8, 16, 3, padding=1, steps=8, normalization=True)(spikes).shape
    torch.Size([4, 16, 6, 6])
    """

    _dims = (4,)
    _sizes = (*Convolution._sizes, "avg_pool")

    def _moves(self, avg_pool: int) -> Sizes:
        return Sizes(avg_pool, self.stride, self.padding)


class Integrate(FullyConnected, _OnSpikes, Leaky):
    """Output layer of a membrane readout: V[t] = decay V[t - 1] + gamma (W s[t]) + beta, without a threshold.

    `gain` is 1 / sqrt(T): the potential sums the currents of T steps, and the last potential has variance 1 (ours). With a
    synaptic current it is `init.synaptic_gain`.

    Parameters
    ----------
    in_features, out_features, steps, avg_pool : as in `TTFSLinear`.
    decay, synaptic_decay : as in `TTFSNode`.
    bias, affine, init, normalization, dropout, generator : as in `Synapse`.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.zeros(4, 64, dtype=torch.uint8), steps=8)
    >>> Integrate(64, 10, steps=8)(spikes).shape
    torch.Size([8, 4, 10])
    """

    _sizes = (*FullyConnected._sizes, "avg_pool", "decay", "synaptic_decay")

    def __init__(  # type: ignore[misc]
        self,
        in_features: int,
        out_features: int,
        *,
        steps: int,
        decay: float = 1.0,
        synaptic_decay: float = 0.0,
        **options: Unpack[LayerOptions],
    ) -> None:
        gain = synaptic_gain(steps, decay, synaptic_decay) if synaptic_decay else checks.steps(steps) ** -0.5
        super().__init__(in_features, out_features, gain=gain, steps=steps, **options)
        self.decay, self.synaptic_decay = decay, synaptic_decay

    def forward(self, spikes: Spikes) -> Tensor:
        """Return the membrane, float32 [T, B, O], of spikes of any kind, [B, N] or [B, C, H, W]."""
        spikes, weight, bias = self.prepare_input(self._checked(spikes))
        spikes, weight, sizes = self._plain(spikes, weight)
        return integrate_layer(spikes, weight, bias, sizes, self.decay, self.synaptic_decay)
