"""From a config to a net and an optimizer."""

from __future__ import annotations

import os
from typing import Literal, cast

import torch
from torch import nn

from .. import models, surrogate
from .._base.checks import instance
from ..models.sizes import check_input_shape, neurons_of_spec, weights_of_spec
from ..nn import Affine
from .config import Config
from .muon import Muon
from .seeds import generator

BYTES_PER_WEIGHT = 32  # that training takes: as it is, normalised and packed, two gradients, two moments, an update
BYTES_PER_NEURON = 8  # per image of a batch: a time, its gradient or slope; most neurons take somewhat more
_PASSED = (
    "encoder",
    "readout",
    "gamma",
    "scale",
    "population",
    "init",
    "bias",
    "pooling",
    "hidden_gain",
    "output_gain",
)


def build_model(config: Config, *, input_shape: tuple[int, ...]) -> nn.Module:
    """Build the net of a config; its weights are drawn with the config's seed.

    Args:
        config: see `Config`.
        input_shape: channels, height and width of an image, or the number of features.

    Returns:
        A `models.TTFSNet`, or for model "relu" the same net with ReLU neurons (an `nn.Sequential`).

    Raises:
        ValueError, TypeError: from `models.build`, naming the field or pointing at the token of the spec.

    Examples:
        >>> config = train.Config(spec="64-32-10", seed=1)
        >>> net = train.build_model(config, input_shape=(1, 8, 8))
        >>> again = train.build_model(config, input_shape=(1, 8, 8))
        >>> torch.equal(net.layers[0].weight, again.layers[0].weight)
        True
    """
    instance("config", config, Config, "a train.Config")
    input_shape = check_input_shape(input_shape)
    check_memory(config, input_shape)
    draw = generator(config.seed, "weights")
    if config.model == "relu":
        return models.relu_counterpart(
            config.spec, input_shape=input_shape, pooling=config.pooling, dropout=config.dropout, generator=draw
        )
    options = {name: getattr(config, name) for name in _PASSED if getattr(config, name) is not None}
    shape = getattr(surrogate, config.surrogate)
    return models.build(
        config.spec,
        input_shape=input_shape,
        steps=config.steps,
        normalization=cast(Literal["channel"] | bool, config.normalization),
        affine=cast(Affine, config.affine),
        threshold=config.threshold,
        learn_threshold=config.learn_threshold,
        decay=config.decay,
        dropout=config.dropout,
        surrogate=shape() if config.surrogate_scale is None else shape(config.surrogate_scale),
        output_surrogate=None if config.output_surrogate_scale is None else shape(config.output_surrogate_scale),
        generator=draw,
        **options,
    )


def check_memory(config: Config, input_shape: tuple[int, ...]) -> None:
    """Raise ValueError for a net whose training would take more than the machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        memory = 1 << 40
    weights, neurons = (
        count(config.spec, input_shape, config.population) for count in (weights_of_spec, neurons_of_spec)
    )
    wanted = BYTES_PER_WEIGHT * weights + BYTES_PER_NEURON * neurons * config.batch
    if wanted > memory:
        raise ValueError(
            f"the net {config.spec!r} has {weights:,} weights and {neurons:,} neurons; training with batch {config.batch} "
            f"takes about {wanted / 2**30:,.0f} GiB, the machine has {memory / 2**30:,.0f} GiB"
        )


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config; weight decay applies to parameters of two or more dimensions.

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> config = train.Config(spec="64-32-10", weight_decay=0.01)
        >>> optimizer = train.build_optimizer(config, train.build_model(config, input_shape=(1, 8, 8)))
        >>> type(optimizer).__name__, [group["weight_decay"] for group in optimizer.param_groups]
        ('AdamW', [0.01, 0.0])
    """
    instance("config", config, Config, "a train.Config")
    instance("model", model, nn.Module, "a torch.nn.Module")
    if config.optimizer == "muon":
        return Muon(model.parameters(), lr=config.lr)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": part, "weight_decay": decay}
        for part, decay in ((decayed, config.weight_decay), (other, 0.0))
        if part
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)
