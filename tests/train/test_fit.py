"""Whole runs: they learn, resume bit for bit with every ingredient, are read when finished, and tell another run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from firstspike.train import Augmentation, BadCheckpoint, Config, Muon, Result, evaluate, fit, load_info, load_model, loop

from .conftest import curves, resumes_with_the_same_bits, run, same_bits


def dense(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))


class Learned(nn.Module):
    """A loss with a parameter and a buffer that training changes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, scores, labels):
        loss = nn.functional.cross_entropy(scores * self.scale, labels)
        self.mean.lerp_(loss.detach(), 0.1)
        return loss - 0.1 * self.mean


class Counting(torch.optim.SGD):
    """Keeps numbers, texts and tensors in its groups, as schedule-free optimizers do."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.2, momentum=0.9)
        for group in self.param_groups:
            group |= {"k": 0, "sums": (0.0, 0), "weight": torch.zeros(())}

    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
            group["sums"] = (group["sums"][0] + group["lr"], group["k"])
            group["weight"] += group["sums"][0]
            group["lr"] /= group["k"] + float(group["weight"])
        super().step(closure)


CNN = {"spec": "4C3-AP2-6-4"}
INGREDIENTS = {
    "fused AdamW, weight decay, warmup": {"weight_decay": 0.1, "warmup": 0.5, "clip": 0.5},
    "Adam, standardized, validation": {**CNN, "optimizer": "adam", "standardize": True, "validation": 30},
    "SGD, relu": {**CNN, "model": "relu", "optimizer": "sgd", "label_smoothing": 0.1},
    "Muon": {**CNN, "optimizer": "muon", "normalization": "channel", "lr": 0.02},
    "averaging": {"average_epochs": 2},
    "averaging from the last epoch": {**CNN, "average_epochs": 1, "validation": 30},
    "learned thresholds": {"learn_threshold": True, "lr": 0.1},
    "augmentation": {"augmentation": Augmentation(shift=1, flip=True, erase=0.5), "unerased_epochs": 1},
    "pools of one direction": {"spec": "4C3-AP1x2-6C3-AP2x1-4"},
    "dropout": {**CNN, "dropout": 0.4},
    "penalty on spikes": {**CNN, "spike_penalty": 0.5, "spike_form": "ratio"},
    "target of spikes, windows": {**CNN, "timing": "windowed", "spike_target": 0.2, "spike_start": 0.25},
    "spiking readout": {"readout": "twd-exp"},
}


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_a_run_resumes_with_the_same_bits(ingredient, config, sets, tmp_path):
    config = config.replace(epochs=4, **INGREDIENTS[ingredient])
    result = resumes_with_the_same_bits(lambda **options: run(config, sets, **options), tmp_path)
    assert same_bits(load_model(tmp_path / "stopped"), result.model)


PARTS = {
    "net and buffers": lambda: {"model": dense()},
    "compiled net": lambda: {"model": torch.compile(dense(), backend="eager")},
    "averaged net": lambda: {"model": dense()},
    "loss": lambda: {
        "model": dense(),
        "loss": (loss := Learned()),
        "optimizer": lambda net: torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=0.01),
    },
    "optimizer with groups": lambda: {
        "model": dense(),
        "optimizer": lambda net: Counting([{"params": [p]} for p in net.parameters()]),
    },
    "optimizer of a part": lambda: {
        "model": dense(),
        "optimizer": lambda net: torch.optim.AdamW(net[1].parameters(), lr=0.01, fused=True),
    },
    "Muon": lambda: {"model": dense(), "optimizer": lambda net: Muon(net.parameters(), lr=0.05)},
    "bfloat16": lambda: {
        "model": nn.Sequential(nn.Flatten(), Half()),
        "optimizer": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    },
}


class Half(nn.Module):
    """A layer in bfloat16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(36, 4).to(torch.bfloat16)

    def forward(self, x):
        return self.layer(x.to(torch.bfloat16))


@pytest.mark.parametrize("part", PARTS)
def test_a_run_with_given_parts_resumes_with_the_same_bits(part, config, sets, tmp_path):
    config = config.replace(epochs=4, average_epochs=2 if part == "averaged net" else 0)

    def start(**options):
        return run(config, sets, **PARTS[part](), **options)

    resumes_with_the_same_bits(start, tmp_path)


def test_a_run_on_loaders_resumes_with_the_same_bits(config, sets, tmp_path):
    loaders = [DataLoader(part, batch_size=16, shuffle=True) for part in sets]
    resumes_with_the_same_bits(lambda **options: run(config.replace(epochs=4), loaders, **options), tmp_path)


def test_a_resumed_run_keeps_its_number_of_threads(config, sets, tmp_path, keep_threads):
    numbers = []
    for epochs, threads in ((1, 2), (2, 1)):
        torch.set_num_threads(threads)
        options = {"directory": tmp_path, "callbacks": [lambda *_: numbers.append(torch.get_num_threads())]}
        result = run(config.replace(threads=0, epochs=epochs), sets, **options)
        assert torch.get_num_threads() == threads
    assert numbers == [session["threads"] for session in result.sessions] == [2, 2]


def test_same_seed_same_bits_other_seed_other_bits(config, sets, tmp_path):
    config = config.replace(epochs=1)
    one, same, other = (run(config.replace(seed=s), sets, directory=tmp_path / n) for n, s in zip("abc", (5, 5, 6), strict=True))
    assert same_bits(one.model, same.model) and curves(one) == curves(same) != curves(other)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_learns(config, sets):
    result = run(config.replace(epochs=8), sets)
    assert result.test.accuracy > 0.9
    assert [entry.epoch for entry in result.history] == list(range(1, 9))
    assert result.best.accuracy >= result.test.accuracy
    assert result.seconds > 0 and result.peak_memory > 10_000_000
    assert result.parameters == 36 * 24 + 24 * 4 + 2 * 24 + 2 * 4
    assert all(0 < entry.step_seconds < entry.seconds for entry in result.history)
    assert "test accuracy" in str(result) and not result.model.training


def test_windows_learn(tmp_path):
    config = Config(data="digits", spec="64-48-10", timing="windowed", steps=16, input_steps=31, dropout=0.05)
    config = config.replace(epochs=10, lr=1e-2, batch=32)
    result = fit(config, directory=tmp_path, progress=False)
    assert result.test.accuracy > 0.87 and result.test.steps_mean == 16 and 0 < result.test.spikes_per_neuron < 1
    net = load_model(tmp_path)
    assert (net.timing, net.input_steps) == ("windowed", 31)


def test_a_finished_run_is_read_not_repeated(config, sets, tmp_path, monkeypatch):
    first = run(config, sets, directory=tmp_path / "a" / "b")
    monkeypatch.setattr(loop, "learning_rate", None)  # a step would fail
    again = run(config, sets, directory=tmp_path / "a" / "b")
    assert again == first == Result.from_dict(json.loads(json.dumps(first.to_dict())))
    assert same_bits(again.model, first.model)


def test_a_net_that_is_given_to_a_finished_run_gets_its_weights(config, sets, tmp_path):
    seen = []
    callbacks = [lambda epoch, net: seen.append((epoch, net.training))]
    first = run(config, sets, model=dense(), directory=tmp_path, callbacks=callbacks)
    again = run(config, sets, model=dense(1), directory=tmp_path)
    assert same_bits(again.model, first.model) and evaluate(again.model, sets[1]) == first.test
    assert seen == [(entry, False) for entry in first.history] and load_info(tmp_path) == first.run


def test_raised_epochs_extend_a_finished_run(config, sets, tmp_path):
    config = config.replace(schedule="constant")
    run(config.replace(epochs=1, average_epochs=1), sets, directory=tmp_path / "averaged")
    longer = run(config.replace(epochs=3, average_epochs=1), sets, directory=tmp_path / "averaged")
    assert same_bits(longer.model, run(config.replace(average_epochs=1), sets).model)
    run(config.replace(epochs=1), sets, directory=tmp_path / "plain")
    longer = run(config, sets, directory=tmp_path / "plain")
    assert same_bits(longer.model, run(config, sets).model) and len(longer.history) == 3
    with pytest.raises(BadCheckpoint, match="epochs: 1, not the 3"):
        run(config.replace(epochs=1), sets, directory=tmp_path / "plain")


def test_an_interrupted_extension_leaves_the_finished_run(config, sets, tmp_path, capsys):
    short = run(config, sets, directory=tmp_path)

    def stop(epoch, net):
        if epoch.epoch == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config.replace(epochs=6), sets, directory=tmp_path, callbacks=[stop])
    again = run(config, sets, directory=tmp_path)
    assert again == short and same_bits(again.model, short.model) and same_bits(load_model(tmp_path), short.model)
    assert len(fit(config.replace(epochs=6), datasets=sets, directory=tmp_path).history) == 6
    assert "resumed at epoch 5 of 6" in capsys.readouterr().err


def test_the_mean_is_of_the_weights_after_each_step(config, sets):
    weights = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            weights.append(self.param_groups[0]["params"][0].detach().clone())

    def start(**options):
        return run(config, sets, model=dense(), optimizer=lambda net: Watching(net[1].parameters(), lr=0.1), **options)

    config = config.replace(average_epochs=2)
    seen = []
    result = start(callbacks=[lambda epoch, net: seen.append(net[1].weight.detach().clone())])
    expected = [torch.stack(weights[10:end]).mean(0) for end in (20, 30)]
    for found, mean in zip(seen[1:], expected, strict=True):
        torch.testing.assert_close(found, mean)
    torch.testing.assert_close(result.model[1].weight, expected[1])
    assert evaluate(result.model, sets[1]) == result.test


def test_validation_leaves_the_test_set_for_the_end(config, sets):
    result = run(config.replace(validation=0.2), sets)
    assert [entry.validation.images for entry in result.history] == [30] * 3
    assert [entry.test and entry.test.images for entry in result.history] == [None, None, 60]
    assert result.history[0].train.images == 120


def test_init_from_starts_with_the_weights_of_another_run(config, sets, tmp_path):
    first = run(config, sets, directory=tmp_path)
    start = run(config.replace(lr=0.0, epochs=1), sets, init_from=tmp_path)
    assert same_bits(start.model, first.model)
    again = run(config, sets, directory=tmp_path, init_from=tmp_path, resume=False)  # from the run itself
    assert again.history[0].train.loss < first.history[0].train.loss
    with pytest.raises(ValueError, match="init_from"):
        run(config.replace(spec="36-5-4"), sets, init_from=tmp_path)


DIGITS = Config(data="digits", spec="64-48-10", steps=6, epochs=6, batch=32, lr=0.005, threads=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_process_resumes(tmp_path):
    """kill -9 at any moment: the next call goes on, and the end is the uninterrupted run's."""
    (tmp_path / "run.toml").write_text(DIGITS.to_toml(), encoding="utf-8")
    code = "import sys; from firstspike.train import Config, fit\nfit(Config.from_toml(sys.argv[1]), directory=sys.argv[2])"
    command = [sys.executable, "-c", code, str(tmp_path / "run.toml"), str(tmp_path / "killed")]
    kills = 0
    for _ in range(8):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        told = process.stderr.readline()
        if told.startswith("resumed"):
            told = process.stderr.readline()
        if kills < 2 and told.startswith("epoch"):
            time.sleep(0.05 * (kills + 1))
            process.send_signal(signal.SIGKILL)
            kills += 1
        told += process.stderr.read()
        process.stderr.close()
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, told
    assert kills == 2 and process.returncode == 0
    whole = fit(DIGITS, directory=tmp_path / "whole", progress=False)
    assert same_bits(load_model(tmp_path / "killed"), whole.model)
    assert json.loads((tmp_path / "killed" / "result.json").read_text())["config"] == whole.config.to_dict()
