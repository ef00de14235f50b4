"""Checkpoints: whole or refused, of this run or refused, of every optimizer's state."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from firstspike.train import BadCheckpoint, build_model, build_optimizer, checkpoint
from firstspike.train.batches import facts
from firstspike.train.result import RunInfo

from .conftest import make_dataset, run


@pytest.fixture(scope="module")
def folder(sets, tmp_path_factory):
    """A run of which two of three epochs are done."""
    from firstspike.train import Config

    def stop(epoch, net):
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    place = tmp_path_factory.mktemp("run")
    config = Config(spec="36-6-4", steps=4, epochs=3, batch=16, lr=0.01)
    with pytest.raises(KeyboardInterrupt):
        run(config, sets, directory=place, callbacks=[stop])
    return place


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1), cut=st.booleans(), bit=st.integers(0, 7))
def test_damage_is_told(folder, tmp_path_factory, at, cut, bit):
    raw = bytearray((folder / checkpoint.FILE).read_bytes())
    place = min(int(at * len(raw)), len(raw) - 1)
    raw[place] ^= 1 << bit
    damaged = tmp_path_factory.mktemp("damaged")
    (damaged / checkpoint.FILE).write_bytes(raw[:place] if cut else raw)
    try:
        found = checkpoint.load(damaged)
    except BadCheckpoint as error:
        assert "resume=False" in str(error)
    else:  # white space of the header
        assert not cut and found.progress == checkpoint.load(folder).progress


@pytest.mark.parametrize("name", ["result.json", "checkpoint.safetensors"])
def test_a_damaged_file_stops_a_run_and_starting_over_replaces_it(name, config, sets, tmp_path):
    run(config, sets, directory=tmp_path)
    if name != "result.json":
        (tmp_path / "result.json").unlink()
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    with pytest.raises(BadCheckpoint, match=rf"{name}.*resume=False"):
        run(config, sets, directory=tmp_path)
    assert len(run(config, sets, directory=tmp_path, resume=False).history) == 3


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("what", ["lr", "data", "tag"])
def test_another_run_is_refused(what, finished, config, sets, tmp_path):
    run(config, sets, directory=tmp_path)
    if not finished:
        (tmp_path / "result.json").unlink()
    other = {
        "lr": lambda: run(config.replace(lr=0.5), sets, directory=tmp_path),
        "data": lambda: run(config, (make_dataset(150, 7), sets[1]), directory=tmp_path),
        "tag": lambda: run(config, sets, directory=tmp_path, tag="another loss"),
    }[what]
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with pytest.raises(BadCheckpoint) as error:
        other()
    assert what in str(error.value) and "resume=False" in str(error.value)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert run(config, sets, directory=tmp_path).config == config


def test_only_files_of_the_run_are_touched(config, sets, tmp_path):
    (tmp_path / "report.html").write_text("precious")
    left = tmp_path / ".checkpoint.safetensors.0123456789abcdef.partial"  # of a kill
    left.write_text("")
    run(config, sets, directory=tmp_path)
    expected = ["checkpoint.safetensors", "model.safetensors", "report.html", "result.json"]
    assert names(tmp_path) == expected
    run(config.replace(seed=9), sets, directory=tmp_path, resume=False)
    assert names(tmp_path) == expected and (tmp_path / "report.html").read_text() == "precious"


@pytest.mark.parametrize("mistake", ["init_from", "optimizer", "model"])
def test_starting_over_removes_nothing_before_all_is_known_to_be_right(config, sets, tmp_path, mistake):
    run(config, sets, directory=tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    wrong = {"init_from": tmp_path / "nowhere", "optimizer": lambda net: None, "model": nn.Linear(3, 4)}[mistake]
    with pytest.raises((ValueError, TypeError, RuntimeError, OSError)):
        run(config, sets, directory=tmp_path, resume=False, **{mistake: wrong})
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_kill_at_the_end_of_a_longer_run_leaves_no_result_of_the_shorter(config, sets, tmp_path, monkeypatch):
    run(config.replace(epochs=2), sets, directory=tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["firstspike.train.fitting"], "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config, sets, directory=tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert len(run(config, sets, directory=tmp_path).history) == 3


def test_restored_state_keeps_memory_layouts_and_types(config, tmp_path):
    """A fused optimizer takes the layouts of a parameter and its state for equal."""
    config = config.replace(spec="4C3-AP2-6-4")

    def parts():
        net = build_model(config, input_shape=(1, 6, 6)).to(memory_format=torch.channels_last)
        return nn.ModuleDict({"model": net}), build_optimizer(config, net)

    (trained, optimizer), (other, fresh) = parts(), parts()
    trained["model"](torch.rand(4, 1, 6, 6)).sum().backward()
    optimizer.step()
    weight = trained["model"].layers[0].weight
    optimizer.state[weight]["own"] = {"nested": [torch.full_like(weight, 1 / 3, dtype=torch.float64), "text", None]}
    optimizer.state[weight]["wide"] = torch.full_like(weight, 1 / 3, dtype=torch.float64)
    progress = checkpoint.Progress(run=RunInfo(config=config, data=dict.fromkeys(("train", "test"), facts(make_dataset(4, 1)))))
    checkpoint.save(tmp_path, progress, trained, optimizer)
    checkpoint.load(tmp_path).restore(other, fresh)
    restored = other["model"].layers[0].weight
    assert torch.equal(restored, weight) and fresh.state[restored]["wide"].dtype == torch.float64
    nested = fresh.state[restored]["own"]["nested"]
    assert nested[1:] == ["text", None] and nested[0].dtype == torch.float64
    for parameter in other.parameters():
        assert fresh.state[parameter]["exp_avg"].stride() == parameter.stride()
        assert fresh.state[parameter]["step"] == 1


def test_another_net_or_optimizer_does_not_fit(folder, sets):
    record = checkpoint.load(folder)
    other = nn.ModuleDict({"model": nn.Linear(2, 2)})
    with pytest.raises(BadCheckpoint, match="does not fit the run"):
        record.restore(other, torch.optim.SGD(other.parameters(), lr=0.1))
    config = record.progress.run.config
    net = build_model(config, input_shape=(1, 6, 6))
    groups = [{"params": [parameter]} for parameter in net.parameters()]
    with pytest.raises(BadCheckpoint, match="does not fit the run"):
        record.restore(nn.ModuleDict({"model": net}), torch.optim.SGD(groups, lr=0.1))
