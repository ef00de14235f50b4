"""What lowers the energy of a trained net: changes of it, each measured on the net's own images."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from .. import energy
from .. import nn as fs
from .._base import checks
from .._base.modules import evaluating, plain_copy
from ..energy import EnergyTable, LayerCounts
from ..models import TTFSNet, as_net, stop_after
from ..nn.residual import fold_layers
from ..spikes import SpikeTimes
from .cost import counts

_STOPS = (0.25, 0.5, 0.75)  # of the steps after which there are scores
_INPUT_STEPS = (63, 31, 15, 7)
_PRUNED = (0.5, 0.8)  # of the weights of each layer
_BATCH = 256


class Change(NamedTuple):
    """A change of a net: its kind, its name, the changed copy, and where it is set."""

    kind: str
    name: str
    make: Callable[[TTFSNet], TTFSNet]
    setting: str


class _Measured(NamedTuple):
    accuracy: float  # on images that serve no choice
    choice_accuracy: float
    steps: int
    energy_nj: float


def advise(
    net: nn.Module,
    images: Tensor | SpikeTimes,
    labels: Tensor,
    table: str | os.PathLike[str] | EnergyTable = "45nm-integer",
    *,
    schedule: str = "clocked",
    most_lost: float = 0.01,
    counted: int = 100,
) -> pd.DataFrame:
    """Return what each change of a trained net would save, measured without training it again.

    Columns: `change`; `accuracy`, 0 to 1, and `choice_accuracy`, see `images`; `steps` until the answer, from the start of the
    input; `energy_nj` per image; `share` of the unchanged net's energy; `setting`, with which a net is trained or run so. The
    unchanged net comes first, then the changes whose `choice_accuracy` is at most `most_lost` lower, least energy first, then
    the others. "together" applies the best changes of each kind one after another, where the `choice_accuracy` permits.
    `attrs["relu_nj"]` is the energy of the same net with ReLU, or None.

    Measured are: a run that stops after fewer steps (`models.stop_after`); in nets of windows a shorter input window and fewer
    steps; with direct coding a latency code, with a latency code fewer steps; small weights that are 0. Of pruned weights the
    additions and multiply-adds fall in proportion, as on a core that stores other weights only. Training with such a setting
    regains accuracy. A penalty on spikes needs training, so its row has no figures.

    Parameters
    ----------
    net : a TTFSNet, or a Sequential of our layers that `models.as_net` takes; it is not changed.
    images, labels : held-out samples, at least two, [B, ...] as the net takes them, and their classes, int64 [B]. Every second
        one, from the first on, serves the choice alone, and the others the column `accuracy`.
    table, schedule : as of `inspect.profile`.
    most_lost : what a change may lose of `choice_accuracy`, 0 to 1.
    counted : operations are counted on the first so many images.

    Examples
    --------
    >>> net = models.load_pretrained("digits-windowed")
    >>> test = data.load("digits", train=False)
    >>> advice = inspect.advise(net, test.images[:100], test.labels[:100], counted=20)
    >>> advice["change"][0], bool((advice["share"] < 1).any())
    ('none', True)
    """
    checks.batch("images", images, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
    if len(images) < 2:
        raise ValueError(f"images must hold at least two samples, one for the choice and one for the accuracy, got {len(images)}")
    figures = energy.load(table)
    most_lost, counted = checks.real("most_lost", most_lost, 0.0, 1.0), checks.integer("counted", counted, 1)
    net = as_net(plain_copy(net), tuple(images.shape[1:]))
    checks.labels(labels, len(images), net(images[:1]).shape[1])
    fold_layers(net)

    def measure(changed: TTFSNet) -> _Measured:
        layers = _without_pruned(net, changed, counts(changed, images[:counted], batch=_BATCH))
        return _Measured(
            *_accuracies(changed, images, labels),
            changed.score_steps[-1],
            energy.accounts(layers, figures, schedule).total,
        )

    whole = measure(net)
    least = whole.choice_accuracy - most_lost
    rows: list[dict[str, Any]] = []

    def add(name: str, found: _Measured, setting: str) -> None:
        rows.append({"change": name, **found._asdict(), "share": found.energy_nj / whole.energy_nj, "setting": setting})

    best: dict[str, tuple[_Measured, Change]] = {}
    for change in _changes(net):
        found = measure(change.make(net))
        add(change.name, found, change.setting)
        good = found.choice_accuracy >= least and found.energy_nj < whole.energy_nj
        if good and (change.kind not in best or found.energy_nj < best[change.kind][0].energy_nj):
            best[change.kind] = found, change
    together, kept, settings, last = net, [], [], whole
    for found, change in sorted(best.values(), key=lambda pair: pair[0].energy_nj):
        candidate = change.make(together)
        measured = found if together is net else measure(candidate)
        if measured.choice_accuracy >= least and measured.energy_nj < last.energy_nj:
            together, last = candidate, measured
            after = candidate.score_steps[-1]  # of a net with shorter windows, a stop comes earlier
            kept.append(_stop_name(after) if change.kind == "stop" else change.name)
            settings.append(_stop_setting(after) if change.kind == "stop" else change.setting)
    if len(kept) > 1:
        add("together: " + ", ".join(kept), last, "; ".join(settings))
    rows.sort(key=lambda row: (row["choice_accuracy"] < least, row["energy_nj"]))
    nothing = {"change": "none", **whole._asdict(), "share": 1.0, "setting": ""}
    penalty = {"change": "a penalty on spikes", "setting": "firstspike train CONFIG.toml --set spike_penalty=0.3"}
    frame = pd.DataFrame([nothing, *rows, penalty]).astype({"steps": "Int64"})
    frame.attrs["relu_nj"] = energy.relu(counts(net, images[:counted], batch=_BATCH), figures)
    return frame


def _changes(net: TTFSNet) -> Iterator[Change]:
    """The changes that apply to a folded net."""
    ran, hidden = net.score_steps, [layer for layer in net._synapses() if layer.fires]
    if net.timing == "step" or hidden:
        for steps in sorted({math.ceil(share * len(ran)) for share in _STOPS} - {len(ran)}):
            after = ran[steps - 1]
            yield Change("stop", _stop_name(after), _stopped(steps / len(ran)), _stop_setting(after))
    if net.timing == "windowed":
        for steps in _INPUT_STEPS:
            if steps < net.input_steps and isinstance(net.encoder, fs.WindowedEncoder):
                yield Change("input", f"an input window of {steps} steps", _with_input(steps), f"train: input_steps = {steps}")
    elif isinstance(net.layers[0], fs.DirectLinear | fs.DirectConv2d) and net.normalize is None:
        yield Change("code", "latency code in place of direct coding", _in_latency_code, 'train: encoder = "latency"')
    if (net.timing == "windowed" and hidden) or isinstance(net.encoder, fs.LatencyEncoder):
        for steps in sorted({net.steps // 2, net.steps // 4} - {0, net.steps}):
            yield Change("steps", f"{steps} in place of {net.steps} steps", _with_steps(steps), f"train: steps = {steps}")
    for share in _PRUNED:
        yield Change("prune", f"the smallest {share:.0%} of the weights 0", _pruned(share), "torch.nn.utils.prune, then train")


def _stop_name(after: int) -> str:
    return f"stop after step {after}"


def _stop_setting(after: int) -> str:
    return f"firstspike emulate RUN --stop-after {after}"


def _stopped(share: float) -> Callable[[TTFSNet], TTFSNet]:
    def make(net: TTFSNet) -> TTFSNet:
        ran = net.score_steps
        return stop_after(net, ran[max(1, round(share * len(ran))) - 1])

    return make


def _with_input(steps: int) -> Callable[[TTFSNet], TTFSNet]:
    def make(net: TTFSNet) -> TTFSNet:
        changed: Any = plain_copy(net)
        changed.encoder.steps = steps
        return changed  # type: ignore[no-any-return]

    return make


def _with_steps(steps: int) -> Callable[[TTFSNet], TTFSNet]:
    """Fewer steps of all layers: a value keeps its meaning, and its levels are coarser."""

    def make(net: TTFSNet) -> TTFSNet:
        changed: Any = plain_copy(net)
        modules = [*changed.layers.modules(), *(changed.encoder.modules() if net.timing == "step" else ())]
        for part in modules:
            if hasattr(part, "steps"):
                part.steps = min(part.steps, steps)
        changed.steps = min(net.steps, steps)
        return changed  # type: ignore[no-any-return]

    return make


def _in_latency_code(net: TTFSNet) -> TTFSNet:
    """The net with one spike per pixel. Its weight counts T / 2 times: as often as the current of a pixel in the mean."""
    changed: Any = plain_copy(net)
    first = changed.layers[0]
    kind = fs.TTFSConv2d if isinstance(first, fs.DirectConv2d) else fs.TTFSLinear
    layer: Any = kind(**first.settings())
    layer.load_state_dict(first.state_dict())
    with torch.no_grad():
        layer.weight *= net.steps / 2
    changed.layers[0], changed.encoder = layer, fs.LatencyEncoder(net.steps)
    return plain_copy(changed)  # type: ignore[no-any-return]


def _pruned(share: float) -> Callable[[TTFSNet], TTFSNet]:
    @torch.no_grad()
    def make(net: TTFSNet) -> TTFSNet:
        changed = plain_copy(net)
        for layer in changed._synapses():
            size = layer.weight.abs()
            layer.weight[size <= size.flatten().kthvalue(max(1, int(share * size.numel()))).values] = 0
        return changed

    return make


def _without_pruned(net: TTFSNet, changed: TTFSNet, layers: list[LayerCounts]) -> list[LayerCounts]:
    """Counts in which weights that a change made 0 take no additions and no multiply-adds, in proportion."""
    kept = []
    for layer in layers:
        before, after = (getattr(each.get_submodule(layer.name), "weight", None) for each in (net, changed))
        share = 1.0 if before is None or after is None else int(after.count_nonzero()) / max(1, int(before.count_nonzero()))
        kept.append(dataclasses.replace(layer, additions=share * layer.additions, direct_macs=share * layer.direct_macs))
    return kept


@torch.no_grad()
def _accuracies(net: TTFSNet, images: Tensor | SpikeTimes, labels: Tensor) -> tuple[float, float]:
    """Return the accuracy on every second image from the second on, and on the others, which serve the choice."""
    with evaluating(net):
        parts = [net(images[start : start + _BATCH]).argmax(1) for start in range(0, len(images), _BATCH)]
    right = (torch.cat(parts) == labels).double()
    return float(right[1::2].mean()), float(right[0::2].mean())
