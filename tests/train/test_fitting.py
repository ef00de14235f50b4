"""Whole runs: they learn, they resume bit for bit wherever they are interrupted, they refuse what does not fit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from firstspike import train
from firstspike.train import Augmentation, BadCheckpoint, Config, Diverged, Result, checkpoint, fit, load_model, loop
from firstspike.train.optimizer_state import OptimizerState


def weights(directory):
    return load_file(directory / "model.safetensors")


def assert_same_run(one, other):
    """The same bits in the weights, the same numbers in the history, apart from times."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert curves(one) == curves(other)


def curves(directory):
    history = json.loads((directory / "result.json").read_text())["history"]
    return [{name: value for name, value in entry.items() if "seconds" not in name} for entry in history]


VARIANTS = {
    "plain": {},
    "spiking readout": {"readout": "twd-exp", "augmentation": Augmentation(shift=1, erase=0.3)},
    "dropout": {"spec": "4C3-AP2-6-4", "dropout": 0.4},
    "relu and dropout": {"spec": "4C3-AP2-6-4", "dropout": 0.4, "model": "relu"},
    "cnn": {"spec": "4C3-AP2-6-4", "standardize": True, "optimizer": "adam", "validation": 30},
    "erasing but in the last epoch": {"augmentation": Augmentation(shift=1, erase=0.5), "unerased_epochs": 1},
    "averaged weights": {"average_epochs": 2, "weight_decay": 0.1},
    "averaged weights of a cnn": {"spec": "4C3-AP2-6-4", "average_epochs": 1, "validation": 30},
    "relu": {"model": "relu", "spec": "4C3-AP2-6-4", "optimizer": "sgd", "warmup": 0.5, "label_smoothing": 0.1},
}


@pytest.fixture(params=VARIANTS)
def variant(request, config):
    return config.replace(**VARIANTS[request.param])


def test_interrupted_and_resumed_run_ends_with_the_same_bits(variant, sets, tmp_path, monkeypatch):
    fit(variant, directory=tmp_path / "whole", datasets=sets, progress=False)
    real, calls = loop.learning_rate, []

    def interrupt(step, **rest):
        calls.append(step)
        if len(calls) in (14, 25):  # in the middle of the second epoch, and of what follows
            raise KeyboardInterrupt
        return real(step, **rest)

    monkeypatch.setattr(loop, "learning_rate", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(variant, directory=tmp_path / "broken", datasets=sets, progress=False)
    fit(variant, directory=tmp_path / "broken", datasets=sets, progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_same_seed_same_bits_other_seed_other_bits(config, sets, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        fit(config.replace(seed=seed, epochs=1), directory=tmp_path / name, datasets=sets, progress=False)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert curves(tmp_path / "a") != curves(tmp_path / "c")


def test_learns(config, sets):
    result = fit(config.replace(epochs=8), datasets=sets, progress=False)
    assert result.test.accuracy > 0.9
    assert [entry.epoch for entry in result.history] == list(range(1, 9))
    assert result.best.accuracy >= result.test.accuracy
    assert result.seconds > 0 and result.peak_memory > 10_000_000
    assert result.parameters == 36 * 24 + 24 * 4 + 2 * 24 + 2 * 4
    assert all(0 < entry.step_seconds < entry.seconds for entry in result.history)


def test_finished_run_is_read_not_repeated(config, sets, tmp_path, monkeypatch):
    first = fit(config, directory=tmp_path, datasets=sets, progress=False)
    monkeypatch.setattr(loop, "learning_rate", None)  # a step would fail
    again = fit(config, directory=tmp_path, datasets=sets, progress=False)
    assert again == first == Result.from_dict(json.loads(json.dumps(first.to_dict())))


def test_validation_run_leaves_the_test_set_for_the_end(config, sets):
    result = fit(config.replace(validation=0.2), datasets=sets, progress=False)
    assert [entry.validation.images for entry in result.history] == [30] * 3
    assert [entry.test and entry.test.images for entry in result.history] == [None, None, 60]
    assert result.history[0].train.images == 120


def test_limit_and_its_error(config, sets):
    assert fit(config.replace(limit=40, epochs=1), datasets=sets, progress=False).history[0].train.images == 40
    with pytest.raises(ValueError, match=r"limit must be at most the 150 training images, got 151"):
        fit(config.replace(limit=151), datasets=sets, progress=False)


def test_directory_of_another_run_is_refused(config, sets, tmp_path):
    fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)
    other = config.replace(epochs=1, lr=0.5)
    with pytest.raises(BadCheckpoint, match=r"other settings \(lr: 0.5, not 0.01\)"):
        fit(other, directory=tmp_path, datasets=sets, progress=False)
    (tmp_path / "result.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"other settings \(lr: 0.5, not 0.01\)"):
        fit(other, directory=tmp_path, datasets=sets, progress=False)
    assert fit(other, directory=tmp_path, datasets=sets, progress=False, resume=False).config == other


@pytest.mark.parametrize("damage", ["bytes", "missing", "json", "format"])
def test_damaged_checkpoint_is_refused(config, sets, tmp_path, damage):
    fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)
    (tmp_path / "result.json").unlink()
    (tensors,), record = tmp_path.glob("checkpoint-0001-*.safetensors"), tmp_path / "checkpoint.json"
    if damage == "bytes":
        raw = bytearray(tensors.read_bytes())
        raw[-1] ^= 1
        tensors.write_bytes(raw)
    elif damage == "missing":
        tensors.unlink()
    elif damage == "json":
        record.write_text(record.read_text()[:-20])
    else:
        record.write_text(record.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(BadCheckpoint, match=r"resume=False starts over|has format 99"):
        fit(config.replace(epochs=1), directory=tmp_path, datasets=sets, progress=False)


def test_no_checkpoint_uses_pickle(config, sets, tmp_path):
    fit(config, directory=tmp_path, datasets=sets, progress=False)
    (path,) = tmp_path.glob("checkpoint-0003-*.safetensors")
    assert any(name.startswith("optimizer.0.") for name in load_file(path))
    json.loads((tmp_path / "checkpoint.json").read_text())


def test_load_model_from_run_file_and_unfinished_run(config, sets, tmp_path):
    result = fit(config, directory=tmp_path / "run", datasets=sets, progress=False)
    for path in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        found = load_model(path)
        assert found.config == config and found.epoch == 3 and found.input_shape == (1, 6, 6)
        assert train.evaluate(found.model, sets[1], normalize=found.normalize) == result.test
        assert not found.model.training
    (tmp_path / "run" / "model.safetensors").unlink()
    unfinished = load_model(tmp_path / "run")
    assert train.evaluate(unfinished.model, sets[1], normalize=unfinished.normalize) == result.test
    with pytest.raises(ValueError, match=r"has no checkpoint"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"path must be a run's folder or a model file"):
        load_model(tmp_path / "nothing")


def test_foreign_file_is_no_model(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors"):
        load_model(tmp_path / "other.safetensors")


def test_standardized_pixels_travel_with_the_model(config, sets, tmp_path):
    result = fit(config.replace(standardize=True), directory=tmp_path, datasets=sets, progress=False)
    found = load_model(tmp_path)
    assert found.normalize.mean is not None
    assert train.evaluate(found.model, sets[1], normalize=found.normalize) == result.test


def test_diverged(config, sets, monkeypatch):
    monkeypatch.setattr(loop, "batch_loss", lambda scores, labels, smoothing: scores.sum() * float("nan"))
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 1; try a smaller lr than 0.01"):
        fit(config, datasets=sets, progress=False)


def test_missing_device(config, sets):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match=r"device must be one that this machine has, got 'cuda'"):
        fit(config.replace(device="cuda"), datasets=sets, progress=False)


def test_threads_are_put_back(config, sets):
    before = torch.get_num_threads()
    fit(config.replace(epochs=1, threads=before + 1), datasets=sets, progress=False)
    assert torch.get_num_threads() == before


def test_one_line_an_epoch_on_stderr(config, sets, capsys):
    fit(config, datasets=sets)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("decides in" in line and "spikes/neuron" in line for line in lines)
    fit(config, datasets=sets, progress=False)
    assert capsys.readouterr().err == ""


def test_restored_optimizer_keeps_memory_layouts(config, sets, tmp_path):
    config = config.replace(spec="4C3-AP2-6-4", epochs=1)
    fit(config, directory=tmp_path, datasets=sets, progress=False)
    model = train.build_model(config, input_shape=(1, 6, 6)).to(memory_format=torch.channels_last)
    optimizer = train.build_optimizer(config, model)
    _, record = checkpoint.load_progress(tmp_path)
    state = OptimizerState(optimizer)
    checkpoint.restore(checkpoint.load_weights(tmp_path, record), record, model, state)
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].stride() == parameter.stride()
        assert optimizer.state[parameter]["step"] == 10


DIGITS = Config(data="digits", spec="64-48-10", steps=6, epochs=6, batch=32, lr=0.005, threads=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_process_resumes(tmp_path):
    """kill -9 at any moment: the next call goes on, and the end is the uninterrupted run's."""
    (tmp_path / "run.toml").write_text(DIGITS.to_toml(), encoding="utf-8")
    code = (
        "import sys; from firstspike.train import Config, fit\n"
        "fit(Config.from_toml(sys.argv[1]), directory=sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.toml"), str(tmp_path / "killed")]
    kills = 0
    for _ in range(8):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stderr is not None
        first = process.stderr.readline()
        if kills < 2 and first.startswith("epoch"):
            time.sleep(0.05 * (kills + 1))
            process.send_signal(signal.SIGKILL)
            kills += 1
        told = first + process.stderr.read()
        process.stderr.close()
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, told
    assert kills == 2 and process.returncode == 0
    fit(DIGITS, directory=tmp_path / "whole", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_paths_are_made(config, sets, tmp_path):
    fit(config.replace(epochs=1), directory=str(tmp_path / "a" / "b"), datasets=sets, progress=False)
    assert Path(tmp_path, "a", "b", "result.json").is_file()
