"""A run's folder: only its own files are touched, whatever else is there, and a kill leaves nothing for long."""

import json
import os
import stat
import sys

import pytest
import torch
from safetensors.torch import save_file

from firstspike.train import BadCheckpoint, checkpoint, fit
from firstspike.train.optimizer_state import OptimizerState


def run(config, sets, folder, **options):
    return fit(config, directory=folder, datasets=sets, progress=False, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))


@pytest.mark.parametrize("name", ["notes.txt", "checkpoint-0001.safetensors", "model.safetensors", "result.json"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_with_other_files_is_refused_and_left_alone(config, sets, tmp_path, name, resume):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file({"x": torch.ones(1)}, path)
    else:
        path.write_text("{}")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=name):
        run(config, sets, tmp_path, resume=resume)
    assert names(tmp_path) == [name] and path.read_bytes() == before


def test_foreign_files_in_a_runs_folder_stay(config, sets, tmp_path):
    run(config.replace(epochs=1), sets, tmp_path)
    others = ["checkpoint-0009.safetensors", "checkpoint-0001-00000000.safetensors", "report.html"]
    for name in others:
        (tmp_path / name).write_text("precious")
    (tmp_path / ".checkpoints").mkdir()
    run(config, sets, tmp_path)
    run(config, sets, tmp_path, resume=False)
    assert all((tmp_path / name).read_text() == "precious" for name in others)
    assert (tmp_path / ".checkpoints").is_dir()


@pytest.mark.parametrize("name", ["model.safetensors", "result.json"])
def test_a_foreign_file_under_a_name_of_the_run_is_not_overwritten(config, sets, tmp_path, name):
    run(config.replace(epochs=1), sets, tmp_path)
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=rf"{name} was not written by firstspike; move it"):
        run(config, sets, tmp_path)
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["model.safetensors", "result.json", "checkpoint.json"])
def test_nothing_is_written_through_a_link(config, sets, tmp_path, name):
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(target)
    with pytest.raises(ValueError, match=name):
        run(config, sets, folder)
    assert target.read_text() == "precious"


def test_a_folder_named_like_a_temporary_file_disturbs_nobody(config, sets, tmp_path):
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoint.json.0123456789abcdef.partial").mkdir()
    run(config, sets, tmp_path)
    assert (tmp_path / ".checkpoints").is_dir()


def test_two_checkpoints_are_kept_and_leftovers_of_a_kill_go(config, sets, tmp_path):
    run(config.replace(epochs=1), sets, tmp_path)
    (tensors,) = tmp_path.glob("checkpoint-0001-*")
    own = tensors.name.removeprefix("checkpoint-0001-")
    left = [f"checkpoint-0002-{own}", *(f".{name}.0123456789abcdef.partial" for name in
            (tensors.name, "checkpoint.json", "model.safetensors", "result.json"))]  # fmt: skip
    for name in left:
        (tmp_path / name).write_bytes(b"cut off by a kill")
    run(config, sets, tmp_path)
    kept = [f"checkpoint-0002-{own}", f"checkpoint-0003-{own}", "checkpoint.json", "model.safetensors", "result.json"]
    assert names(tmp_path) == sorted(kept)


def test_a_kill_in_the_first_epoch_leaves_a_folder_that_can_be_used(config, sets, tmp_path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_json", kill)
    with pytest.raises(KeyboardInterrupt):
        run(config, sets, tmp_path)
    monkeypatch.undo()
    assert len(names(tmp_path)) == 1
    run(config, sets, tmp_path)


def test_starting_over_works_with_a_damaged_record(config, sets, tmp_path):
    run(config.replace(epochs=1), sets, tmp_path)
    for name in ("checkpoint.json", "result.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text()[:-20])
        with pytest.raises(BadCheckpoint, match=rf"{name} is damaged .*resume=False starts over"):
            run(config, sets, tmp_path)
    run(config, sets, tmp_path, resume=False)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["epoch"] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no umask there")
def test_files_follow_the_umask(config, sets, tmp_path):
    before = os.umask(0o077)
    try:
        run(config.replace(epochs=1), sets, tmp_path / "run")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (tmp_path / "run").iterdir()} == {0}


def test_a_file_in_place_of_the_folder(config, sets, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ValueError, match=r"directory must name a folder, .*run is a file"):
        run(config, sets, tmp_path / "run")


def test_the_model_file_has_the_same_bytes_in_every_run(config, sets, tmp_path):
    for name in ("a", "b"):
        run(config.replace(epochs=1), sets, tmp_path / name)
    assert len({(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")}) == 1


def test_a_checkpoint_of_version_0_1_resumes(config, sets, tmp_path):
    """Its record has no data, no sessions, says "pixels" and "deviation", and its tensors carry no mark."""
    run(config.replace(epochs=2, standardize=True), sets, tmp_path / "old")
    for name in ("result.json", "model.safetensors"):
        (tmp_path / "old" / name).unlink()
    record = json.loads((tmp_path / "old" / "checkpoint.json").read_text())
    for path in (tmp_path / "old").glob("checkpoint-0001*"):
        path.unlink()
    tensors = tmp_path / "old" / record["tensors"]
    tensors.rename(tmp_path / "old" / "checkpoint-0002.safetensors")
    scaling = record.pop("normalize")
    old = {
        name: record[name]
        for name in ("sha256", "optimizer", "config", "epoch", "history", "peak_memory", "input_shape")
    }
    old = {"format": 1, "tensors": "checkpoint-0002.safetensors", **old,
           "pixels": {"mean": scaling["mean"], "deviation": scaling["std"]}}  # fmt: skip
    (tmp_path / "old" / "checkpoint.json").write_text(json.dumps(old, indent=1))
    result = run(config.replace(epochs=3, standardize=True), sets, tmp_path / "old")
    whole = run(config.replace(epochs=3, standardize=True), sets, tmp_path / "new")
    assert [entry.epoch for entry in result.history] == [1, 2, 3] and whole.sessions[0]["first_epoch"] == 1
    assert [session["first_epoch"] for session in result.sessions] == [3]


def test_beyond_epoch_9999_the_last_two_checkpoints_stay(config, tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    progress = checkpoint.Progress(config.to_dict(), 0, [], 0, {}, (2,))
    for epoch in range(9998, 10003):
        progress.epoch = epoch
        checkpoint.save(tmp_path, progress, net, OptimizerState(optimizer))
        assert (tmp_path / json.loads((tmp_path / "checkpoint.json").read_text())["tensors"]).exists()
    assert sorted(path.name.split("-")[1] for path in tmp_path.glob("checkpoint-*")) == ["10001", "10002"]


@pytest.mark.parametrize("mistake", ["init_from", "optimizer", "data"])
def test_starting_over_removes_nothing_before_all_is_known_to_be_right(config, sets, tmp_path, mistake):
    run(config.replace(epochs=1), sets, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    wrong = {
        "init_from": {"init_from": tmp_path / "nowhere"},
        "optimizer": {"optimizer": lambda net: None},
        "data": {"model": torch.nn.Linear(3, 4)},
    }[mistake]
    change = {"data": {"spec": "", "steps": 8}, "optimizer": {"lr": 1e-3}}.get(mistake, {})
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        run(config.replace(**change), sets, tmp_path, resume=False, **wrong)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_starting_over_from_the_weights_of_the_run_itself(config, sets, tmp_path):
    first = run(config, sets, tmp_path)
    elsewhere = run(config, sets, tmp_path.with_name("elsewhere"), init_from=tmp_path)
    again = run(config, sets, tmp_path, init_from=tmp_path, resume=False)
    assert again.history[0].train == elsewhere.history[0].train != first.history[0].train


def test_a_kill_at_the_end_of_a_longer_run_leaves_no_result_of_the_shorter(config, sets, tmp_path, monkeypatch):
    run(config.replace(epochs=2, schedule="constant"), sets, tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("firstspike.train.running.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config.replace(schedule="constant"), sets, tmp_path)
    with pytest.raises(BadCheckpoint, match="epochs: 2, not 3"):
        run(config.replace(epochs=2, schedule="constant"), sets, tmp_path)
    assert len(run(config.replace(schedule="constant"), sets, tmp_path).history) == 3
