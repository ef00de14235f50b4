"""Configs: what goes in comes out, and every mistake is named."""

import json

import pytest

from firstspike.train import Augmentation, Config

GOOD = {"data": "mnist", "spec": "784-100-10"}


def test_round_trips(tmp_path):
    config = Config.from_dict({**GOOD, "augmentation": {"shift": 2, "flip": True}, "affine": "none", "validation": 0.1})
    assert config.affine is None and config.augmentation == Augmentation(shift=2, flip=True)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(path) == config


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps", "xpu:0"])
def test_devices_are_those_of_torch(name):
    assert Config(**GOOD, device=name).device == name


def test_changes_reach_into_a_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('data = "mnist"\nspec = "784-10-10"\nepochs = 3\naugmentation = { shift = 1 }\n', encoding="utf-8")
    config = Config.from_toml(path, {"epochs": 4, "augmentation.erase": 0.5})
    assert config.epochs == 4 and config.augmentation == Augmentation(shift=1, erase=0.5)
    with pytest.raises(ValueError, match=r"run\.toml: epochs\.a = 1 contradicts epochs = 3"):
        Config.from_toml(path, {"epochs.a": 1})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"epoch": 1}, "epoch: .*did you mean epochs"),
        ({"augmentation": {"shfit": 1}}, "augmentation.shfit: .*did you mean shift"),
        ({"augmentation": {"erase": 1.5}}, "augmentation.erase: "),
        ({"data": "imagenet"}, "data: must be one of digits"),
        ({"spec": "1-" * 6000}, "spec: "),
        ({"steps": 255}, "steps: "),
        ({"input_steps": 31}, "input_steps: must be left out with timing 'step'"),
        ({"timing": "windowed", "input_steps": 256}, "input_steps: "),
        ({"timing": "windowed", "surrogate": "atan"}, "surrogate: must be left out"),
        ({"timing": "windowed", "surrogate_scale": 2.0}, "surrogate_scale: must be left out"),
        ({"timing": "windowed", "normalization": "channel"}, "normalization: "),
        ({"precision": "bfloat16"}, "precision: "),
        ({"lr": float("nan")}, "lr: "),
        ({"validation": 1.5}, "validation: "),
        ({"warmup": 11}, "warmup: must be at most epochs = 10"),
        ({"average_epochs": 11}, "average_epochs: must be at most epochs = 10"),
        ({"unerased_epochs": 2}, "unerased_epochs: must be 0"),
        ({"surrogate": "step"}, "surrogate: must be one of triangle"),
        ({"spike_penalty": -0.1}, "spike_penalty: "),
        ({"spike_penalty": float("inf")}, "spike_penalty: "),
        ({"spike_target": 0.0}, "spike_target: "),
        ({"spike_target": 1.0}, "spike_target: "),
        ({"spike_form": "square"}, "spike_form: "),
        ({"spike_start": 1.5}, "spike_start: "),
        ({"device": "gpu"}, "device: .*'mps'"),
        ({"optimizer": "muon", "weight_decay": 0.1}, "weight_decay: must be 0"),
    ],
)
def test_mistakes_are_named(change, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        Config(**{**GOOD, **change})
    with pytest.raises(ValueError, match=f"^run.toml: {name}"):
        Config.from_dict({**GOOD, **change}, "run.toml")
