"""Encoders and readouts by name."""

from __future__ import annotations

from torch import nn

from .. import nn as fs
from .._base import checks
from .._base.checks import warn

CURVES = {"latency": "linear", "latency-log": "log"}
ENCODERS = ("direct", *CURVES, "spikes")
MEMBRANE = {"membrane": "last", "membrane-mean": "mean", "membrane-weighted": "weighted"}
TEMPORAL = {"twd-exp": "exp", "twd-linear": "linear"}
READOUTS = (*MEMBRANE, *TEMPORAL, "first-spike")
Readout = fs.MembraneReadout | fs.TemporalWeighting | fs.FirstSpike


def make_encoder(name: str, steps: int) -> nn.Module:
    """The module of an encoder: "direct", "latency", "latency-log" or "spikes"; ValueError for another name."""
    checks.one_of("encoder", name, ENCODERS)
    if name == "direct":
        return nn.Identity()
    return fs.SpikeInput(steps) if name == "spikes" else fs.LatencyEncoder(steps, CURVES[name])


def make_readout(name: str, *, classes: int | None = None, gamma: float = 1.2, scale: float = 10.0) -> Readout:
    """The module of a readout, by the names of `READOUTS`; gamma of temporal weighting, scale of spiking readouts."""
    checks.one_of("readout", name, READOUTS)
    for option, value, default, users in (
        ("gamma", gamma, 1.2, TEMPORAL),
        ("scale", scale, 10.0, (*TEMPORAL, "first-spike")),
    ):
        if value != default and name not in users:
            warn(f"{option} = {value:g} has no effect with readout {name!r}; it is for {', '.join(users)}")
    if name in MEMBRANE:
        return fs.MembraneReadout(MEMBRANE[name], classes=classes)
    if name == "first-spike":
        return fs.FirstSpike(classes=classes, scale=scale)
    return fs.TemporalWeighting(gamma, TEMPORAL[name], classes=classes, scale=scale)
