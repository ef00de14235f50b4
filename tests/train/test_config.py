"""Configs: what goes in comes out, and every mistake is named."""

import pytest

from firstspike.train import Augmentation, Config

GOOD = {"data": "mnist", "spec": "784-100-10"}


def test_round_trips(tmp_path):
    config = Config.from_dict({**GOOD, "augmentation": {"shift": 2, "flip": True}, "affine": "none", "validation": 0.1})
    assert config.affine is None and config.augmentation == Augmentation(shift=2, flip=True)
    assert Config.from_dict(config.to_dict()) == config
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(path) == config


def test_changes_reach_into_a_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('data = "mnist"\nspec = "784-10-10"\nepochs = 3\naugmentation = { shift = 1 }\n', encoding="utf-8")
    config = Config.from_toml(path, {"epochs": 4, "augmentation.erase": 0.5})
    assert config.epochs == 4 and config.augmentation == Augmentation(shift=1, erase=0.5)


def test_whole_numbers_are_floats_where_floats_are_due():
    assert isinstance(Config.from_dict({**GOOD, "lr": 1, "warmup": 1, "validation": 5}).lr, float)
    assert Config.from_dict({**GOOD, "validation": 5}).validation == 5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"learning_rate": 1}, ValueError, "no setting learning_rate"),
        ({"epoch": 1}, ValueError, "did you mean epochs"),
        ({"augmentation": {"shfit": 1}}, ValueError, "did you mean augmentation.shift"),
        ({"augmentation": 3}, TypeError, "augmentation must be Augmentation, got 3"),
        ({"augmentation": {"erase": 1.5}}, ValueError, "augmentation.erase must be in 0..1, got 1.5"),
        ({"data": "imagenet"}, ValueError, "data must be one of digits, .*got 'imagenet'"),
        ({"steps": 0}, ValueError, "steps must be in 1..254, got 0"),
        ({"steps": 255}, ValueError, "steps must be in 1..254, got 255"),
        ({"steps": 8.0}, TypeError, "steps must be int, got 8.0"),
        ({"epochs": True}, TypeError, "epochs must be int, got True"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch": -1}, ValueError, "batch must be at least 1"),
        ({"lr": float("nan")}, ValueError, "lr must be finite"),
        ({"lr": "fast"}, TypeError, "lr must be float, got 'fast'"),
        ({"affine": "row"}, ValueError, "affine must be one of channel, layer, none"),
        ({"gamma": "big"}, TypeError, "gamma must be float or none"),
        ({"validation": 1.5}, ValueError, "validation must be a fraction below 1"),
        ({"warmup": 11}, ValueError, "warmup must be at most epochs = 10"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be"),
        ({"standardize": True, "encoder": "latency"}, ValueError, "standardize needs encoder 'direct'"),
        ({"surrogate": "step"}, ValueError, "surrogate must be one of triangle"),
        ({"device": "gpu"}, ValueError, "device must be cpu, cuda or cuda:N, got 'gpu'"),
        ({"average_epochs": -1}, ValueError, "average_epochs must be at least 0"),
        ({"average_epochs": 11}, ValueError, "average_epochs must be at most epochs = 10, got 11"),
        ({"unerased_epochs": 11}, ValueError, r"unerased_epochs must be in 0\.\.10, got 11"),
        ({"unerased_epochs": 2}, ValueError, "unerased_epochs must be 0 where augmentation.erase is 0, got 2"),
        ({"clip": -1}, ValueError, "clip must be at least 0"),
        ({"spec": "1-" * 6000}, ValueError, "the number of characters of spec must be in 0..10000"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of adamw"),
        ({"optimizer": "muon", "weight_decay": 0.1}, ValueError, "weight_decay must be 0 with optimizer 'muon'"),
        ({"normalization": "layer"}, ValueError, "normalization must be one of True, False, channel, got 'layer'"),
    ],
)
def test_mistakes_are_named(change, error, message, tmp_path):
    with pytest.raises(error, match=message):
        Config.from_dict({**GOOD, **change})


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("data = ", encoding="utf-8")
    with pytest.raises(ValueError, match=r"run.toml: "):
        Config.from_toml(path)
    path.write_text("epochs = 3", encoding="utf-8")
    with pytest.raises(ValueError, match=r"run.toml: spec must be given"):
        Config.from_toml(path)


def test_differences():
    config = Config.from_dict(GOOD)
    assert config.differences(config.replace()) == []
    assert config.differences(config.replace(lr=0.5, seed=1)) == ["lr: 0.001, not 0.5", "seed: 0, not 1"]


def test_no_augmentation_may_be_said_and_not_contradicted(tmp_path):
    assert Config.from_dict({**GOOD, "augmentation": "none"}).augmentation == Augmentation()
    path = tmp_path / "run.toml"
    path.write_text('spec = "784-10-10"\naugmentation = "none"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"augmentation.shift = 1 contradicts augmentation = 'none'"):
        Config.from_toml(path, {"augmentation.shift": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"\xff\xfe", "is not a text in UTF-8"),
        (b"#" * (1 << 21), "has 2097152 bytes, the bound is 1048576"),
    ],
)
def test_no_file_breaks_the_reader(tmp_path, content, message):
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"run\.toml.* {message}"):
        Config.from_toml(tmp_path / "run.toml")
    with pytest.raises(ValueError, match="is a folder; name a TOML file"):
        Config.from_toml(tmp_path)
    with pytest.raises(ValueError, match="there is no such file"):
        Config.from_toml(tmp_path / "nowhere.toml")
