"""`firstspike plot` and `firstspike profile`."""

import json
import sys

import pytest

from firstspike import models, nn, train

pytest.importorskip("matplotlib")


def test_plot_writes_four_pictures(call, trained, tmp_path):
    code, out, err = call("plot", trained, "--count", 20, "--sample", 3, "--output", "new")
    assert code == 0, err
    names = ["histogram.png", "membrane.png", "raster.png", "weights.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names and "new/raster.png" in out
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "new").iterdir())
    files = json.loads(call("plot", trained, "--count", 5, "--format", "svg", "--json")[1])
    assert files["raster"] == str(trained / "plots" / "raster.svg") and (trained / "plots" / "raster.svg").is_file()


def test_profile_prints_layers_and_total(call):
    rows = json.loads(call("profile", "digits-cnn", "--count", 20, "--json")[1])
    assert [row["layer"] for row in rows] == [*(f"layers.{n}" for n in range(len(rows) - 1)), "total"]
    assert rows[0]["macs"] > 0 and rows[-1]["energy_nj"] > 0 and rows[-1]["steps_to_decision"] >= 1
    text = call("profile", "digits-cnn", "--count", 20, "--energy", "loihi-davies2018")[1]
    assert "Davies" in text and "multiply-accumulates: they are not counted" in text and "total" in text


def test_a_net_that_ships_is_a_run(call, tmp_path):
    code, _, err = call("plot", "digits-cnn", "--count", 20)
    assert code == 0 and (tmp_path / "digits-cnn" / "plots" / "raster.png").is_file(), err
    assert call("profile", "digits-cnn", "--count", 20)[0] == 0  # the folder of pictures is not a run
    measured = json.loads(call("eval", "digits-mlp", "--json")[1])
    assert measured["images"] == 360 and measured["accuracy"] > 0.9
    emulated = json.loads(call("emulate", "digits-mlp", "--limit", 50, "--json", "--no-progress")[1])
    assert emulated["summary"]["samples"] == 50


@pytest.mark.parametrize("pool", [False, True])
def test_pictures_of_a_given_net(call, tmp_path, pool):
    """One that begins with a pool; one whose first layer pools its maps."""
    layers = (
        [nn.EarliestPool2d(2), nn.TTFSLinear(16, 10, steps=4)] if pool else [nn.TTFSLinear(16, 10, steps=4, avg_pool=2)]
    )
    net = models.TTFSNet(layers, encoder="latency", readout="first-spike", input_shape=(1, 8, 8))
    config = train.Config(data="digits", epochs=1, batch=64, limit=200)
    train.fit(config, model=net, directory=tmp_path / "run", progress=False)
    code, _, err = call("plot", "run", "--count", 5)
    assert code == 0 and (tmp_path / "run" / "plots" / "weights.png").is_file(), err


def test_missing_packages_are_named_in_one_line(call, trained, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or "firstspike.plot" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("firstspike.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for arguments in (("plot", trained, "--count", 2), ("emulate", trained, "--output", "out")):
        code, _, err = call(*arguments)
        assert code == 1 and 'pip install "firstspike[report]"' in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
