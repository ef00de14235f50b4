"""When the neurons of a layer fire, over a whole batch."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from ..inspect import Monitor
from ..report import style
from ._panels import COLOR, MUTED, layer_panels

_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # behind the share on a bar that is cut off


def histogram(seen: Monitor) -> Figure:
    """The share of neurons that fire in each time step, in per cent, a panel per layer; a bar of its own for silent ones.

    seen: a monitor after a forward pass. Shares are over all samples and neurons of the layer and sum to 100 %. Where the bar
    of silent neurons is far higher than the others it is cut off, and its share is written on it.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> net = models.mlp("64-32-10", steps=8)
        >>> with inspect.Monitor(net) as seen:
        ...     scores = net(torch.rand(4, 64))
        >>> plot.histogram(seen).savefig("histogram.svg")
    """
    with style():
        drawn, axes, times = layer_panels(seen, 1.15)
        steps = seen.steps
        silent_at = steps + max(0.5, 0.06 * steps)
        for axis, spikes in zip(axes, times.values(), strict=True):
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
        last = axes[-1]
        shown = sorted({round(i * (steps - 1) / 8) for i in range(9)}) if steps > 9 else list(range(steps))
        last.set_xticks([*shown, silent_at], [*map(str, shown), "silent"])
        last.set_xlim(-0.7, silent_at + 0.7)
        last.set_xlabel("time step of the spike")
        drawn.suptitle(f"Spike times over {len(next(iter(times.values())))} samples", fontsize=10)
    return drawn
