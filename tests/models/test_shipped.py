"""The trained nets that come with the package: they load, are what their records say, and a changed file is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import firstspike
from firstspike import models, train
from firstspike.cli import app
from firstspike.models import shipped

from ..samples import generator

WINDOWED = {f"{data}-windowed" for data in ("cifar10-jpeg", "digits", "fashion", "mnist", "spoken-digits")}
NAMES = WINDOWED | {"digits-cnn", "digits-mlp", "fashion-cnn", "mnist-cnn", "mnist-mlp"}


def test_the_nets_are_there() -> None:
    assert set(shipped.names()) == NAMES
    files = {f"{name}.{kind}" for name in shipped.names() for kind in ("json", "safetensors")}
    assert {path.name for path in shipped.FOLDER.iterdir()} == files


@pytest.mark.parametrize("name", shipped.names())
def test_a_net_is_what_its_record_says(name: str) -> None:
    found, raw = shipped.record(name), (shipped.FOLDER / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == found["sha256"] and len(raw) == found["bytes"]
    net = models.load_pretrained(name)
    config = found["config"]
    assert not net.training and net.spec == config["spec"]
    assert sum(p.numel() for p in net.parameters()) == found["parameters"]
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert len(found["sessions"][-1]["commit"]) == 40 and "dirty" not in str(found["sessions"])
    assert abs(found["test"]["accuracy"] - found["test_as_trained"]["accuracy"]) < 0.005
    x = torch.rand(3, *net.input_shape, generator=generator(1))
    for other in (train.load_model(models.pretrained_file(name)), firstspike.load(models.pretrained_file(name))):
        assert torch.equal(other(x), net(x))


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn", "digits-windowed"])
def test_the_accuracy_is_the_one_that_is_stated(name: str) -> None:
    pytest.importorskip("sklearn")
    test = train.load_data(models.pretrained_file(name), train=False)
    net = models.load_pretrained(name)
    with torch.no_grad():
        right = (net(test.images / 255).argmax(1) == test.labels).sum().item()
    stated = shipped.record(name)["test"]
    assert abs(right - stated["accuracy"] * stated["images"]) <= 1  # one image may turn with another torch
    assert models.pretrained().loc[name, "accuracy"] == 100 * stated["accuracy"] > 90


def test_the_table_has_one_row_per_net() -> None:
    table = models.pretrained()
    assert list(table.index) == shipped.names()
    expected = {"data", "spec", "timing", "steps", "readout", "parameters", "accuracy", "seed", "epochs", "MB", "commit", "file"}
    assert set(table.columns) == expected and not table.isna().any(axis=None)
    assert all(Path(file).is_file() for file in table["file"])


def test_a_changed_or_missing_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in shipped.FOLDER.glob("digits-mlp.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert shipped.names() == ["digits-mlp"]
    weights = tmp_path / "digits-mlp.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    for load in (models.load_pretrained, models.pretrained_file):
        with pytest.raises(ValueError, match=r"digits-mlp.safetensors must have the sha256"):
            load("digits-mlp")
    weights.unlink()
    with pytest.raises(ValueError, match="digits-mlp.safetensors cannot be read"):
        models.load_pretrained("digits-mlp")


def test_training_starts_from_a_net_by_its_name(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "own.toml").write_text(
        'data = "digits"\nspec = "64-128-128-10"\nsteps = 8\nepochs = 1\nbatch = 64\nlimit = 200\nlr = 1e-4\n'
    )
    places = [str(tmp_path / "own.toml"), "--directory", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["train", *places, "--init-from", "digits-mlp", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run" / "result.json").read_text())["history"][0]["test"]["accuracy"] > 0.85
