"""Pictures of a net at work, from an `inspect.Monitor`: matplotlib figures without a window, for `savefig` or a notebook."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .._base.checks import SILENT, instance, integer, pair
from .._base.modules import evaluating
from ..decode import decision_step
from ..inspect import Monitor, Seen
from ..nn import DirectConv2d, DirectLinear, FiringLayer, MembraneReadout, Synapses
from ..report import WIDTH, figure, line_style, style
from ..spikes import SpikeTimes

__all__ = ["histogram", "membrane", "raster", "stopping", "weights"]

COLOR, ACCENT, MUTED = line_style(0).color, line_style(1).color, "#9a9a9a"
_COLOURS = "RdBu_r"  # of weights: blue below zero, red above
_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # behind the share on a bar that is cut off


def raster(seen: Monitor, sample: int = 0) -> Figure:
    """The spikes of one sample: a panel per layer, a dot per spike at its time step and neuron.

    Parameters
    ----------
    seen : a monitor after a forward pass.
    sample : its index in the batch. Neurons of a map are numbered channel by channel, each row by row.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> with inspect.Monitor(net) as seen:
    ...     scores = net(torch.rand(4, 64))
    >>> plot.raster(seen, sample=2).savefig("raster.svg")
    """
    with style():
        drawn, axes, times = _layer_panels(seen, 1.15)
        for axis, spikes in zip(axes, times.values(), strict=True):
            integer("sample", sample, 0, len(spikes) - 1)
            steps_of = spikes.times[sample].flatten().cpu()
            fired = (steps_of < spikes.steps).nonzero().flatten()
            size = max(1.0, min(12.0, 1200 / max(len(steps_of), 1)))
            axis.scatter(steps_of[fired].numpy(), fired.numpy(), s=size, color=COLOR, linewidths=0)
            axis.set_ylim(-0.5, len(steps_of) - 0.5)
            axis.set_ylabel("neuron")
            text = f"{len(fired)} of {len(steps_of)} fire"
            axis.annotate(text, (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=8, color="#555555")
            _step_axis(axis, spikes.steps)
        axes[-1].set_xlabel("time step")
        drawn.suptitle(f"Spikes of sample {sample}", fontsize=10)
    return drawn


def histogram(seen: Monitor) -> Figure:
    """The share of neurons that fire in each time step, in per cent, a panel per layer; a separate bar for silent ones.

    Parameters
    ----------
    seen : a monitor after a forward pass. Shares are over all samples and neurons of the layer. Where the bar of silent neurons
        is far higher than the others it is cut off, and its share is written on it.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> with inspect.Monitor(net) as seen:
    ...     scores = net(torch.rand(4, 64))
    >>> plot.histogram(seen).savefig("histogram.svg")
    """
    with style():
        drawn, axes, times = _layer_panels(seen, 1.15)
        for axis, spikes in zip(axes, times.values(), strict=True):
            steps = spikes.steps
            silent_at = steps + max(0.5, 0.06 * steps)
            counts = torch.bincount(spikes.times.flatten().long().clamp(max=steps), minlength=steps + 1).double()
            shares = (100 * counts / counts.sum()).tolist()
            axis.bar(range(steps), shares[:-1], width=0.85, color=COLOR)
            axis.bar([silent_at], shares[-1:], width=0.85, color=MUTED, hatch="//", edgecolor="white", linewidth=0)
            axis.set_ylabel("neurons, %")
            top = 1.2 * max(shares[:-1])
            axis.set_ylim(0, top if 0 < top < shares[-1] else None)
            if 0 < top < shares[-1]:
                axis.text(silent_at, 0.82 * top, f"{shares[-1]:.1f} %", ha="center", va="center", bbox=_LABEL)
            axis.grid(axis="x", visible=False)
            shown = sorted({round(i * (steps - 1) / 8) for i in range(9)})
            axis.set_xticks([*shown, silent_at], [*map(str, shown), "silent"])
            axis.set_xlim(-0.7, silent_at + 0.7)
        axes[-1].set_xlabel("time step of the spike")
        drawn.suptitle(f"Spike times over {len(next(iter(times.values())))} samples", fontsize=10)
    return drawn


@torch.no_grad()
def membrane(seen: Monitor, sample: int = 0) -> Figure:
    """The potentials of the output neurons over time, and the first output spike, or from when on the class stays the same.

    Parameters
    ----------
    seen : a monitor after a forward pass of a net that ends in a layer of neurons with a `firstspike.nn` readout.
    sample : its index in the batch. The predicted class is drawn bold, the runner-up dashed, all others grey. With a membrane
        readout the lines are the running scores, with a readout of windows the potentials in its input's window; with a spiking
        readout the potentials up to each neuron's spike, in units of the threshold where the layer has one per output.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> with inspect.Monitor(net) as seen:
    ...     scores = net(torch.rand(4, 64))
    >>> plot.membrane(seen, sample=2).savefig("membrane.svg")
    """
    instance("seen", seen, Monitor, "a firstspike.inspect.Monitor")
    name = next(reversed(seen.layers), None)
    if name is None or seen.readout is None or seen.scores is None or seen.decision_step is None:
        raise ValueError("seen must hold a net with a readout of firstspike.nn, after a forward pass")
    integer("sample", sample, 0, len(seen.scores) - 1)
    layer, scores = seen.layers[name], seen.scores[sample]
    if layer.membrane is None and not isinstance(layer.module, FiringLayer):
        raise ValueError(f"seen must hold a net whose last layer has a potential, got {type(layer.module).__name__}")
    ranking = scores.argsort(descending=True, stable=True).tolist()
    windows = getattr(seen.readout, "timing", None) == "windowed"
    if windows:
        lines = _window_potential(layer, sample)
        steps, decided = len(lines), len(lines) - 1
    else:
        # In steps of the layer; the steps of the readout differ where the spikes are rescaled between them.
        steps = layer.steps
        decided = int((seen.decision_step if layer.spikes is None else decision_step(layer.spikes.flatten(1)))[sample])
    with style():
        drawn, axis = figure(height=3.2)
        if windows:
            axis.set_ylabel("potential")
            _lines(axis, lines, ranking, neurons_per_class=1)
        elif layer.membrane is not None:
            assert isinstance(seen.readout, MembraneReadout)
            lines = seen.readout.running(layer.membrane[:, sample : sample + 1])[:, 0]
            axis.set_ylabel("score after each step (potential)")
            _lines(axis, lines, ranking, neurons_per_class=1)
        else:
            assert layer.spikes is not None
            module: Any = layer.module
            lines = _potential(layer).flatten(2)[:, sample]
            times = layer.spikes.times[sample].flatten().cpu()
            _lines(axis, lines, ranking, neurons_per_class=len(times) // len(ranking), times=times)
            threshold = module.neuron.threshold
            axis.axhline(threshold, color="#555555", linewidth=0.8, linestyle=(0, (4, 2)), label="threshold")
            axis.set_ylabel("potential / threshold" if isinstance(module.threshold, Tensor) else "potential")
        if decided < steps:
            what = "end of the window" if windows else "same class from here" if layer.spikes is None else "first output spike"
            axis.axvline(decided, color="black", linewidth=0.9, linestyle=":", label=f"{what}: step {decided}")
        axis.set_xlabel("time step")
        _step_axis(axis, steps)
        named = dict(reversed([*zip(*axis.get_legend_handles_labels()[::-1], strict=True)]))  # the best class is drawn last
        order = sorted(named, key=lambda name: (not name.startswith("class"), name != f"class {ranking[0]}"))
        drawn.legend([named[name] for name in order], order, loc="outside right upper")
        axis.set_title(f"Output of sample {sample}: class {ranking[0]}{'' if decided < steps else ', no output spike'}")
    return drawn


def stopping(table: pd.DataFrame) -> Figure:
    """Accuracy and energy of a program that stops early, against the number of steps.

    Parameters
    ----------
    table : of `emulator.stopping`.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> curve = emulator.stopping(program, torch.rand(20, 64), torch.randint(10, (20,)))
    >>> len(plot.stopping(curve).axes)
    2
    """
    instance("table", table, pd.DataFrame, "a table of emulator.stopping")
    with style():
        drawn, axes = figure(height=2.6, ncols=2)
        curves = {"accuracy, %": 100 * table["accuracy"], "energy, nJ": table["energy_nj"]}
        for axis, (label, values) in zip(axes, curves.items(), strict=True):
            axis.plot(table["steps"], values, **line_style(0).plot())
            axis.set_xlabel("stopped after step")
            axis.set_ylabel(label)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return drawn


def _potential(layer: Seen) -> Tensor:
    """V of a layer that fires, [T, B, O], with the current of a shortcut; nothing is dropped."""
    module: Any = layer.module
    beside = {} if layer.shortcut is None else {"shortcut": layer.shortcut, "shortcut_scale": layer.shortcut_scale}
    with evaluating(module):  # its `forward`, not a call: the monitor may still be watching
        potential: Tensor = module.forward(layer.received, **beside, membrane=True)[1]
    return potential


def _window_potential(layer: Seen, sample: int) -> Tensor:
    """V of a readout of windows, [T, classes]: a spike adds its weight / T in each step, from its own to the window's end."""
    received: Any = layer.received
    spikes = received[sample : sample + 1]

    def until(step: int) -> SpikeTimes:
        later = spikes.times.long() + (spikes.steps - 1 - step)
        return SpikeTimes(later.where(later < spikes.steps, SILENT).to(torch.uint8), spikes.steps)

    with evaluating(layer.module):
        return torch.cat([layer.module.forward(until(step)) for step in range(spikes.steps)])


def _lines(axis: Any, lines: Tensor, ranking: list[int], *, neurons_per_class: int, times: Tensor | None = None) -> None:
    """Draw the lines [T, O]: grey first, so that the two best classes lie on top."""
    steps = range(len(lines))
    for neuron in sorted(range(lines.shape[1]), key=lambda n: -ranking.index(n // neurons_per_class)):
        rank = ranking.index(neuron // neurons_per_class)
        color, width, dash = ((COLOR, 2.0, "-"), (ACCENT, 1.4, "--"))[rank] if rank < 2 else (MUTED, 0.9, "-")
        end = len(lines) if times is None else min(int(times[neuron]) + 1, len(lines))
        first = neuron % neurons_per_class == 0
        label = (f"class {ranking[rank]}" if rank < 2 else "other classes" if rank == len(ranking) - 1 else "") * first
        line = lines[:end, neuron].cpu().numpy()
        dot = "." if end == 1 else None  # one point has no line
        axis.plot(steps[:end], line, color=color, linewidth=width, linestyle=dash, marker=dot, label=label or "_")
        if times is not None and int(times[neuron]) < len(lines):
            axis.plot(steps[end - 1 : end], line[-1:], color=color, marker="o", linestyle="none")


@torch.no_grad()
def weights(
    layer: Synapses,
    *,
    channel: int = 0,
    shape: tuple[int, int] | None = None,
    most: int = 64,
    columns: int = 8,
) -> Figure:
    """The weights that act on a layer's input, one picture per output: red excites, blue inhibits, white is zero.

    Parameters
    ----------
    layer : a layer of `firstspike.nn` with a weight; normalisation and affine are folded in, and a pooled input's weight counts
        one spike.
    channel : which input channel of a convolution is shown.
    shape : (height, width) of a fully connected layer's input; by default a square.
    most : at most so many outputs, the first ones.
    columns : pictures per row.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8)
    >>> plot.weights(net.layers[0], most=16).savefig("weights.svg")
    """
    if not isinstance(layer, Synapses):
        raise TypeError(f"layer must be a layer of firstspike.nn with a weight, got {type(layer).__name__}")
    most, columns = integer("most", most, 1), integer("columns", columns, 1)
    acting = layer.effective_weight_and_bias()[0].detach().cpu() / getattr(layer, "avg_pool", 1) ** 2  # of one unit
    pictures = _pictures(acting, channel, shape)[:most]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    limit = float(pictures.abs().max()) or 1.0
    cell = WIDTH / (columns + 0.8)
    with style():
        drawn, grid = figure(WIDTH, rows * cell + 0.6, nrows=rows, ncols=columns, squeeze=False)
        image: Any = None
        for axis, number in zip(grid.flat, range(rows * columns), strict=True):
            axis.set_axis_off()
            if number < len(pictures):
                image = axis.imshow(pictures[number].numpy(), cmap=_COLOURS, vmin=-limit, vmax=limit)
        drawn.colorbar(image, ax=grid, fraction=0.04, pad=0.02, ticks=MaxNLocator(4))  # a number that no layout changes
        direct = isinstance(layer, DirectLinear | DirectConv2d)
        unit = "thresholds" if getattr(layer, "theta", None) is not None else "current" if direct else "potential"
        per = "unit of input" if direct else "spike at step 0" if layer.timing == "windowed" else "spike"
        of = f", input channel {channel}" if layer.weight.dim() == 4 else ""
        title = f"Outputs 0 to {len(pictures) - 1} of {len(layer.weight)}{of}"
        drawn.suptitle(f"{title}\nweights: {unit} per {per}", fontsize=10)
    return drawn


def _pictures(weight: Tensor, channel: int, shape: tuple[int, int] | None) -> Tensor:
    """The weights as [outputs, height, width]."""
    if weight.dim() == 4:
        integer("channel", channel, 0, weight.shape[1] - 1)
        return weight[:, channel]
    root = math.isqrt(weight.shape[1])
    height, width = (root, root) if shape is None else pair("shape", shape, 1)
    if height * width != weight.shape[1]:
        remedy = f"got {height} x {width}" if shape else "give it"
        raise ValueError(f"shape must be (height, width) with {weight.shape[1]} elements, {remedy}")
    return weight.reshape(-1, height, width)


def _layer_panels(seen: Monitor, panel_height: float) -> tuple[Figure, list[Any], dict[str, SpikeTimes]]:
    """A figure with one panel per layer that fires, from the input at the top to the output; the axes; the spikes."""
    instance("seen", seen, Monitor, "a firstspike.inspect.Monitor")
    times = seen.times
    if not times:
        raise ValueError("seen must hold a layer that fires: call the net within the monitor's `with` block")
    shared = len({spikes.steps for spikes in times.values()}) == 1  # windows may differ
    height = (panel_height if shared else panel_height + 0.15) * len(times) + 0.5
    drawn, grid = figure(WIDTH, height, nrows=len(times), sharex=shared, squeeze=False)
    axes = [row[0] for row in grid]
    for axis, name in zip(axes, times, strict=True):
        axis.set_title(f"{name}: {seen.layers[name].kind} {' x '.join(map(str, times[name].shape[1:]))}")
    return drawn, axes, times


def _step_axis(axis: Any, steps: int) -> None:
    """Ticks and limits for the time steps 0 to T - 1."""
    axis.set_xlim(-0.5, steps - 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
