"""What the pictures share: one panel per layer, and the axis of time steps."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .._base.checks import instance
from ..inspect import Monitor
from ..report import WIDTH, figure, line_style
from ..spikes import SpikeTimes

COLOR = line_style(0).color
ACCENT = line_style(1).color
MUTED = "#9a9a9a"


def layer_panels(seen: Monitor, panel_height: float) -> tuple[Figure, list[Any], dict[str, SpikeTimes]]:
    """A figure with one panel per layer that fires, from the input at the top to the output; the axes; the spikes."""
    instance("seen", seen, Monitor, "a firstspike.inspect.Monitor")
    times = seen.times
    if not times:
        raise ValueError("seen must hold a layer that fires: call the net within the monitor's `with` block")
    drawn, grid = figure(WIDTH, panel_height * len(times) + 0.5, nrows=len(times), sharex=True, squeeze=False)
    axes = [row[0] for row in grid]
    for axis, name in zip(axes, times, strict=True):
        axis.set_title(f"{name}: {seen.layers[name].kind} {' x '.join(map(str, times[name].shape[1:]))}")
    return drawn, axes, times


def step_axis(axis: Any, steps: int) -> None:
    """Label an axis with the time steps 0 to T - 1."""
    axis.set_xlabel("time step")
    axis.set_xlim(-0.5, steps - 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
