"""Nets cross to other processes and files as they are: pickle, copies, torch.save, joblib, spawned workers."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from firstspike import models

from ..samples import generator

SPECS = {
    "mlp": ("36-20-4", {}),
    "cnn": ("3C3-AP2-12-4", {"dropout": 0.2}),
    "pools": ("3C3-MP2-4C3-EP2-12-4", {"readout": "first-spike"}),
    "latency": ("36-20-4", {"encoder": "latency", "readout": "twd-exp"}),
    "bare": ("36-20-4", {"normalization": False, "affine": None}),
}


def torch_saved(net: nn.Module) -> nn.Module:
    """Through torch.save and torch.load of the whole module."""
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def cloudpickled(net: nn.Module) -> nn.Module:
    """As joblib's workers and dask send it."""
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(net))


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "deepcopy": copy.deepcopy,
    "torch.save": torch_saved,
    "cloudpickle": cloudpickled,
}


def net(name: str) -> models.TTFSNet:
    """A net of `SPECS` whose affine is not at rest."""
    spec, options = SPECS[name]
    made = models.build(spec, input_shape=(1, 6, 6), steps=6, generator=generator(0), **options)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter += torch.rand(parameter.shape, generator=generator(1)) / 5
    return made.eval()


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SPECS)
def test_scores_stay_the_same_to_the_bit(name: str, way: str, prepared: bool) -> None:
    made: nn.Module = models.prepare_for_inference(net(name)) if prepared else net(name)
    x = torch.rand(7, 1, 6, 6, generator=generator(2))
    other = WAYS[way](made)
    assert torch.equal(other(x), made(x)) and not other.training
    if not prepared:
        assert list(other.state_dict()) == list(made.state_dict())
        other.train()(x).sum().backward()
        assert all(p.grad is not None for p in other.parameters())


def scores(net: nn.Module, x: torch.Tensor) -> list[list[float]]:
    """What a worker computes."""
    torch.set_num_threads(1)
    return net(x).tolist()


def test_a_spawned_worker_gets_the_net() -> None:
    x = torch.rand(3, 1, 6, 6, generator=generator(2))
    both = [net("cnn"), models.prepare_for_inference(net("cnn"))]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(scores, [(each, x) for each in both])
    assert found == [both[0](x).tolist()] * 2


def test_joblib_stores_the_net(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    x = torch.rand(3, 1, 6, 6, generator=generator(2))
    for made in (net("cnn"), models.prepare_for_inference(net("cnn"))):
        joblib.dump(made, tmp_path / "net")
        assert torch.equal(joblib.load(tmp_path / "net")(x), made(x))


def test_an_inference_net_stays_in_evaluation() -> None:
    made = models.prepare_for_inference(net("pools"))
    whole = nn.Sequential(made).train()
    assert whole.training and not any(module.training for module in made.modules())
