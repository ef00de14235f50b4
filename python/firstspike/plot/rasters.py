"""Which neuron fires when: the spikes of one sample in every layer."""

from __future__ import annotations

from matplotlib.figure import Figure

from .._base.checks import integer
from ..inspect import Monitor
from ..report import style
from ._panels import COLOR, layer_panels, step_axis


def raster(seen: Monitor, sample: int = 0) -> Figure:
    """The spikes of one sample: a panel per layer, a dot per spike at its time step and neuron.

    seen: a monitor after a forward pass. sample: its index in the batch. Neurons of a map are numbered channel by
    channel, each row by row. Silent neurons have no dot; the panel's right edge says how many fire.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> net = models.mlp("64-32-10", steps=8)
        >>> with inspect.Monitor(net) as seen:
        ...     scores = net(torch.rand(4, 64))
        >>> plot.raster(seen, sample=2).savefig("raster.svg")
    """
    with style():
        drawn, axes, times = layer_panels(seen, 1.15)
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
        step_axis(axes[-1], seen.steps)
        drawn.suptitle(f"Spikes of sample {sample}", fontsize=10)
    return drawn
