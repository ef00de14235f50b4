"""The site's pictures, drawn from a net that is trained here in seconds on the digits of scikit-learn, and of a shipped one.

usage: python -m tools.site.pictures FOLDER   (docs/raster.svg, which README.md shows, is made so)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from firstspike import SpikeTimes, data, encode, models, plot, surrogate
from firstspike.inspect import Monitor
from firstspike.nn import MembraneReadout, Synapses
from firstspike.report import figure, line_style, style, write_svg

STEPS = 12
SEED = 0


def trained() -> tuple[models.TTFSNet, data.Dataset]:
    """A small net and the test images."""
    torch.manual_seed(SEED)
    train, test = data.load("digits", train=True), data.load("digits", train=False)
    net = models.mlp("64-96-64-10", input_shape=train.input_shape, steps=STEPS, readout="membrane-weighted")
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for _ in range(12):
        for index in torch.randperm(len(train)).split(64):
            loss = torch.nn.functional.cross_entropy(net(train.images[index] / 255), train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval(), test


def draw(folder: Path) -> dict[str, Path]:
    """Draw all pictures as SVG; returns file name to path."""
    folder.mkdir(parents=True, exist_ok=True)
    net, test = trained()
    with Monitor(net) as seen, torch.no_grad():
        scores = net(test.images / 255)
    right = scores.argmax(1) == test.labels
    assert seen.decision_step is not None
    late = right & (seen.decision_step >= 2)  # so that there is something to see
    sample = int((scores.softmax(1).amax(1) * late).argmax())
    windowed = models.load_pretrained("digits-windowed")
    with Monitor(windowed) as windows, torch.no_grad():
        windowed(test.images)
    drawn = {
        "raster.svg": decision(seen, test, sample),
        "layers.svg": plot.raster(seen, sample=sample),
        "membrane.svg": plot.membrane(seen, sample=sample),
        "histogram.svg": plot.histogram(seen),
        "weights.svg": plot.weights(cast(Synapses, net.layers[0]), most=16),
        "surrogates.svg": surrogates(),
        "latency.svg": latency(test, sample),
        "windows.svg": plot.raster(windows, sample=sample),
        "window-scores.svg": plot.membrane(windows, sample=sample),
    }
    for name, made in drawn.items():
        write_svg(made, folder / name)
    return {name: folder / name for name in drawn}


def decision(seen: Monitor, test: data.Dataset, sample: int) -> Any:
    """One digit on its way through the net: the image, the spikes of each hidden layer, the scores of the classes."""
    times: dict[str, SpikeTimes] = seen.times
    scores = running(seen)[:, sample]
    steps = len(scores)
    best, runner_up = scores[-1].topk(2).indices.tolist()
    changes = (scores.argmax(1) != best).nonzero().flatten()
    decided = int(changes[-1]) + 1 if len(changes) else 0
    blue, red = line_style(0).color, line_style(1).color
    with style():
        made, axes = figure(8.4, 2.3, ncols=2 + len(times), width_ratios=[1.0, *[1.7] * len(times), 1.9])
        axes[0].imshow(test.images[sample, 0].numpy(), cmap="gray_r")
        axes[0].set_axis_off()
        axes[0].set_title("image")
        for axis, (number, spikes) in zip(axes[1:-1], enumerate(times.values(), 1), strict=True):
            at = spikes.times[sample].numpy()
            fired = np.flatnonzero(at < steps)
            axis.scatter(at[fired], fired, s=7, color=blue, linewidths=0)
            axis.set_title(f"layer {number}: {len(fired)} of {len(at)} fire")
            axis.set_ylabel("neuron")
        for label, line in enumerate(scores.T):
            color = red if label == best else "#b0b0b0"
            axes[-1].plot(range(steps), line, color=color, linewidth=2 if label == best else 0.8)
        axes[-1].axvline(decided, color="#444444", linewidth=0.8, linestyle=":")
        axes[-1].annotate(f"{best}", (steps - 1, scores[-1, best]), textcoords="offset points", xytext=(4, -3), color=red)
        axes[-1].annotate(
            f"{runner_up}",
            (steps - 1, scores[-1, runner_up]),
            textcoords="offset points",
            xytext=(4, -3),
            color="#777777",
        )
        axes[-1].set_title(f'"{best}" is ahead from step {decided} on')
        axes[-1].set_ylabel("score")
        for axis in axes[1:]:
            axis.set_xlabel("time step")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlim(-0.5, steps - 0.5 if axis is not axes[-1] else steps + 0.3)
    return made


def running(seen: Monitor) -> Any:
    """The scores if the run ended after each step, [T, B, classes]."""
    name = next(reversed(seen.layers))
    readout, membrane = seen.readout, seen.layers[name].membrane
    assert isinstance(readout, MembraneReadout) and membrane is not None
    return readout.running(membrane)


def surrogates() -> Any:
    """The four surrogate derivatives."""
    u = torch.linspace(-1.5, 1.5, 601)
    with style():
        made, axis = figure(5.2, 2.4)
        for number, kind in enumerate((surrogate.triangle, surrogate.rectangle, surrogate.atan, surrogate.sigmoid)):
            line = line_style(number)
            axis.plot(u, kind().derivative(u), color=line.color, linestyle=line.dash, label=kind.__name__)
        axis.set_xlabel("V - threshold")
        axis.set_ylabel("derivative")
        axis.legend(frameon=False)
    return made


def latency(test: data.Dataset, sample: int) -> Any:
    """An image and its latency code, linear and logarithmic."""
    image = test.images[sample : sample + 1] / 255
    with style():
        made, axes = figure(6.2, 2.3, ncols=3)
        axes[0].imshow(image[0, 0].numpy(), cmap="gray_r")
        axes[0].set_title("intensity")
        for axis, curve in zip(axes[1:], ("linear", "log"), strict=True):
            times = encode.latency(image, STEPS, curve).seconds()[0, 0].numpy()
            axis.imshow(np.ma.masked_invalid(times), cmap="viridis_r", vmin=0, vmax=STEPS - 1)
            for y, x in np.argwhere(np.isfinite(times)):
                color = "black" if times[y, x] < STEPS / 2 else "white"  # early times are light
                axis.text(x, y, f"{times[y, x]:.0f}", ha="center", va="center", fontsize=6, color=color)
            axis.set_title(f"time, {curve}")
        for axis in axes:
            axis.set_axis_off()
    return made


if __name__ == "__main__":
    print(*draw(Path(sys.argv[1])).values(), sep="\n")
