"""`firstspike plot` and `firstspike profile` on a run that was trained for one epoch."""

import json
import sys

import pytest
from typer.testing import CliRunner

from firstspike import models, nn, train
from firstspike.cli import app


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("run")
    config = train.Config(data="digits", spec="4C3-AP2-10", steps=4, epochs=1, batch=64)
    train.fit(config, directory=folder, progress=False)
    return folder


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_plot_writes_four_pictures(run, tmp_path):
    pytest.importorskip("matplotlib")
    result = call("plot", run, "--count", 20, "--sample", 3, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    names = ["histogram.png", "membrane.png", "raster.png", "weights.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert call("plot", run, "--count", 5, "--format", "svg").exit_code == 0
    assert (run / "plots" / "raster.svg").is_file()


def test_profile_prints_layers_and_total(run):
    result = call("profile", run, "--count", 20, "--json")
    rows = json.loads(result.stdout)
    assert [row["layer"] for row in rows] == ["layers.0", "layers.1", "total"]
    assert rows[0]["macs"] == 7744 / 4 and rows[2]["energy_nj"] > 0 and rows[2]["steps_to_decision"] >= 1
    text = call("profile", run, "--count", 20, "--energy", "loihi-davies2018").stdout
    assert "Davies" in text and "multiply-accumulates: they are not counted" in text and "total" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plot", "RUN", "--sample", 400), "--sample must be at most 359"),
        (("plot", "RUN", "--format", "gif"), "--format must be one of png, svg, pdf, got 'gif'"),
        (("profile", "RUN", "--energy", "none"), "--energy must be one of 45nm-float"),
        (("profile", "/nowhere"), "/nowhere"),
    ],
)
def test_mistakes_get_one_message(run, arguments, message):
    result = call(*(run if argument == "RUN" else argument for argument in arguments))
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and message in result.stderr


def test_a_net_with_relu_has_no_spikes_to_show(tmp_path):
    pytest.importorskip("sklearn")
    train.fit(train.Config(data="digits", spec="64-10", model="relu", epochs=1), directory=tmp_path, progress=False)
    result = call("profile", tmp_path)
    assert result.exit_code == 1 and "must hold a spiking net" in result.stderr


def test_plot_as_json_names_the_pictures(run, tmp_path):
    pytest.importorskip("matplotlib")
    found = json.loads(call("plot", run, "--count", 5, "--output", tmp_path, "--json").stdout)
    assert sorted(found) == ["histogram", "membrane", "raster", "weights"]
    assert found["raster"] == str(tmp_path / "raster.png")


def test_a_net_that_ships_is_a_run(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    result = call("plot", "digits-cnn", "--count", 20)
    assert result.exit_code == 0 and (tmp_path / "digits-cnn" / "plots" / "raster.png").is_file(), result.output
    assert json.loads(call("profile", "digits-mlp", "--count", 20, "--json").stdout)[-1]["layer"] == "total"
    assert call("profile", "digits-cnn", "--count", 20).exit_code == 0  # the folder of pictures is no run
    measured = json.loads(call("eval", "digits-mlp", "--json").stdout)
    assert measured["images"] == 360 and measured["accuracy"] > 0.9
    emulated = json.loads(call("emulate", "digits-mlp", "--limit", 50, "--json", "--no-progress").stdout)
    assert emulated["summary"]["samples"] == 50


def test_pictures_without_the_packages_for_them_are_refused_in_one_line(run, tmp_path, monkeypatch):
    for name in [
        name for name in sys.modules if name.split(".")[0] == "matplotlib" or name.startswith("firstspike.plot")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("firstspike.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call("plot", run, "--count", 2, "--output", tmp_path)
    assert (result.exit_code, result.stderr) == (
        1, 'error: matplotlib is not installed; pip install "firstspike[report]"\n',
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = call("emulate", run, "--output", tmp_path / "out")
    assert (result.exit_code, "jinja2 is not installed" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pool", [False, True])
def test_pictures_of_a_net_of_ones_own(tmp_path, pool):
    """One that begins with a pool; one whose first layer pools its maps."""
    pytest.importorskip("matplotlib")
    layers = (
        [nn.EarliestPool2d(2), nn.TTFSLinear(16, 10, steps=4)] if pool else [nn.TTFSLinear(16, 10, steps=4, avg_pool=2)]
    )
    net = models.TTFSNet(layers, encoder="latency", readout="first-spike", input_shape=(1, 8, 8))
    config = train.Config(data="digits", epochs=1, batch=64, limit=200)
    train.fit(config, model=net, directory=tmp_path / "run", progress=False)
    result = call("plot", tmp_path / "run", "--count", 5)
    assert result.exit_code == 0 and (tmp_path / "run" / "plots" / "weights.png").is_file()
