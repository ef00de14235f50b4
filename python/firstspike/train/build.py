"""From a config to a net and an optimizer."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from .. import models
from .._base.checks import instance
from .config import Config
from .environment import generator
from .muon import Muon

SMALL_SHARE = 0.01  # a learning rate of Muon with which nets stay at chance


def build_model(config: Config, *, input_shape: tuple[int, ...]) -> nn.Module:
    """Build the net of a config, a `models.TTFSNet` or `ReluNet`; its weights are drawn with the config's seed.

    Parameters
    ----------
    config : the settings of the run.
    input_shape : channels, height and width of an image, or the number of features.

    Examples
    --------
    >>> type(train.build_model(train.Config(spec="64-32-10", seed=1), input_shape=(1, 8, 8))).__name__
    'TTFSNet'
    """
    instance("config", config, Config, "a train.Config")
    draw = generator(config.seed, "weights")
    if config.model == "relu":
        normal = config.timing == "windowed" and bool(config.normalization)
        options: dict[str, Any] = {"pooling": config.pooling, "dropout": config.dropout, "normalization": normal}
        return models.relu_counterpart(config.spec, input_shape=input_shape, generator=draw, **options)
    return models.build(config.spec, input_shape=input_shape, generator=draw, **dict(config.net_settings()))


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config; weight decay applies to parameters of two or more dimensions.

    Parameters
    ----------
    config : the settings of the run.
    model : whose parameters it gets.

    Examples
    --------
    >>> config = train.Config(spec="64-32-10", weight_decay=0.01)
    >>> optimizer = train.build_optimizer(config, train.build_model(config, input_shape=(1, 8, 8)))
    >>> type(optimizer).__name__, [group["weight_decay"] for group in optimizer.param_groups]
    ('AdamW', [0.01, 0.0])
    """
    instance("config", config, Config, "a train.Config")
    instance("model", model, nn.Module, "a torch.nn.Module")
    if config.optimizer == "muon":
        if 0 < config.lr < SMALL_SHARE:
            warnings.warn(
                f"lr = {config.lr} is small for Muon, which moves a weight by this share of its norm per step; "
                "0.02 to 0.05 are good peaks",
                stacklevel=2,
            )
        return Muon(model.parameters(), lr=config.lr)
    parts = [[p for p in model.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    decays = zip(parts, (config.weight_decay, 0.0), strict=True)
    groups = [{"params": part, "weight_decay": decay} for part, decay in decays if part]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)
