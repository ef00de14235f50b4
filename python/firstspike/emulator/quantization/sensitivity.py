"""Which layer loses the accuracy: one layer at a time is rounded."""

from __future__ import annotations

import os

import pandas as pd
import torch
from torch import Tensor, nn

from ... import nn as fs
from ..._base import checks
from ..._base.modules import evaluating
from ...data import Normalize
from ...models import as_net
from ...spikes import SpikeTimes
from ..program.profile import Profile
from . import qat, samples
from .from_modules import core_layers

BATCH = 1000


def layer_sensitivity(
    model: nn.Module,
    profile: str | os.PathLike[str] | Profile,
    images: Tensor | SpikeTimes,
    labels: Tensor,
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
    normalize: Normalize | None = None,
) -> pd.DataFrame:
    """The accuracy of a net of which one layer alone is rounded as `quantize` will, for each layer on the cores.

    It tells which layer needs more bits or fine-tuning, which the `rms_error` of the quantisation table does not.

    model: as in `quantize`, with float weights (not of `qat.prepare`). images, labels, normalize: as in `qat.finetune`, at least
    one image. bits, granularity, observer: as in `quantize`. Registers have no limits here: a report of a run tells of overflow.

    Returns one row per layer, in order, after a row "none" for the float net and before a row "all": layer, accuracy (0 to 1),
    and change, the accuracy minus that of the float net. Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> net, digits = models.load_pretrained("digits-mlp"), data.load("digits", train=False)
        >>> found = emulator.layer_sensitivity(net, "generic8", digits.images, digits.labels, bits=2)
        >>> found["layer"].tolist()
        ['none', '1:TTFSLinear', '2:Integrate', 'all']
    """
    scaling = samples.checked(images, labels, normalize)
    net = as_net(model, tuple(images.shape[1:]), name="model")
    if qat.is_prepared(net):
        raise ValueError(
            "model must have float weights, but it is a net of qat.prepare, which rounds its layers already"
        )
    made = qat.prepare(net, profile, bits=bits, granularity=granularity, observer=observer)
    names: dict[fs.Synapse, str] = {}
    for one in core_layers(made):
        if isinstance(one.module, fs.Synapse) and one.module.quantizer is not None:
            names.setdefault(one.module, one.name)  # one that the net calls twice has its first name
    quantizers = {layer: layer.quantizer for layer in names}
    rows = []
    for name, rounded in [("none", []), *((name, [layer]) for layer, name in names.items()), ("all", list(names))]:
        for layer, quantizer in quantizers.items():
            layer.quantizer = quantizer if layer in rounded else None
        rows.append({"layer": name, "accuracy": _accuracy(made, images, labels, scaling)})
    return pd.DataFrame(rows).assign(change=lambda table: table["accuracy"] - table["accuracy"][0])


def _accuracy(net: nn.Module, images: Tensor | SpikeTimes, labels: Tensor, normalize: Normalize) -> float:
    """The share of right predictions, 0 to 1."""
    device, right = next(net.parameters()).device, 0
    with evaluating(net), torch.inference_mode():
        for begin in range(0, len(images), BATCH):
            scores = net(samples.net_input(images[begin : begin + BATCH], normalize, device))
            wanted = labels[begin : begin + BATCH].to(device)
            checks.labels_in_range(wanted, scores.shape[1])
            right += int((scores.argmax(1) == wanted).sum())
    return right / len(images)
