"""Layers show every argument that they take."""

from __future__ import annotations

import inspect

import pytest

from firstspike import nn

LAYERS = [nn.DirectConv2d, nn.DirectLinear, nn.Integrate, nn.TTFSConv2d, nn.TTFSLinear]


@pytest.mark.parametrize("kind", LAYERS)
def test_no_argument_is_hidden(kind: type[nn.Synapse]) -> None:
    parameters = inspect.signature(kind).parameters
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())
    assert {"steps", "bias", "affine", "init", "normalization", "generator"} <= set(parameters)
    assert ("threshold" in parameters) == issubclass(kind, nn.FiringLayer)
    assert parameters["steps"].default is inspect.Parameter.empty
