"""What the output neurons of a sample do, and when the answer is decided."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .._base.checks import instance, integer
from .._base.modules import evaluating
from ..decode import decision_step
from ..inspect import Monitor, Seen
from ..nn import FiringLayer, MembraneReadout
from ..report import figure, style
from ._panels import ACCENT, COLOR, MUTED, step_axis


@torch.no_grad()
def membrane(seen: Monitor, sample: int = 0) -> Figure:
    """The potentials of the output neurons over time, and the step in which the sample is decided.

    seen: a monitor after a forward pass of a net that ends in a layer of neurons with a `firstspike.nn` readout.
    sample: its index in the batch. The predicted class is drawn bold, the runner-up dashed, all others grey. With a
    membrane readout the lines are the scores of the classes if the run ended after that step; with a spiking readout
    they are the potentials up to each neuron's spike, which is marked, beside the threshold; where the layer has one
    threshold per output, in units of it.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
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
    steps, ranking = layer.steps, scores.argsort(descending=True, stable=True).tolist()
    # In steps of the layer; those of the readout differ where the spikes are rescaled between them.
    decided = int((seen.decision_step if layer.spikes is None else decision_step(layer.spikes.flatten(1)))[sample])
    with style():
        drawn, axis = figure(height=3.2)
        if layer.membrane is not None:
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
            threshold = module.neuron["threshold"]
            _check_spikes(lines, times, threshold)
            axis.axhline(threshold, color="#555555", linewidth=0.8, linestyle=(0, (4, 2)), label="threshold")
            axis.set_ylabel("potential / threshold" if isinstance(module.threshold, Tensor) else "potential")
        if decided < steps:
            what = "decided" if layer.spikes is None else "first output spike"
            axis.axvline(decided, color="black", linewidth=0.9, linestyle=":", label=f"{what}: step {decided}")
        step_axis(axis, steps)
        handles, names = axis.get_legend_handles_labels()
        order = sorted(
            range(len(names)), key=lambda i: (not names[i].startswith("class"), names[i] != f"class {ranking[0]}")
        )
        drawn.legend([handles[i] for i in order], [names[i] for i in order], loc="outside right upper")
        axis.set_title(f"Output of sample {sample}: class {ranking[0]}{'' if decided < steps else ', no output spike'}")
    return drawn


def _check_spikes(lines: Tensor, times: Tensor, threshold: float) -> None:
    """Raise ValueError where a neuron fired below the threshold: the potentials are not those of the pass."""
    fired = (times < len(lines)).nonzero().flatten()
    at_spike = lines.cpu()[times[fired].long(), fired]
    if bool((at_spike < threshold * (1 - 1e-4)).any()):
        raise ValueError(
            "seen must hold the spikes of the layer as it is: its weights have changed since the pass, or spikes were dropped; "
            "watch the net in evaluation (`eval()`) and draw before training goes on"
        )


def _potential(layer: Seen) -> Tensor:
    """V of a layer that fires, [T, B, O], with the current of a shortcut; nothing is dropped."""
    module: Any = layer.module
    if layer.shortcut is None:
        potential: Tensor = module.membrane(layer.received)
    else:
        with evaluating(module):  # its `forward`, not a call: the monitor may still be watching
            potential = module.forward(
                layer.received, layer.shortcut, shortcut_scale=layer.shortcut_scale, membrane=True
            )[1]
    return potential


def _lines(
    axis: Any, lines: Tensor, ranking: list[int], *, neurons_per_class: int, times: Tensor | None = None
) -> None:
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
