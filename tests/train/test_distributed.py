"""Data-parallel training with two gloo processes: the gradients, and the run, of one process on whole batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from firstspike import data
from firstspike._base.files import locked
from firstspike.train import Config, build_model, evaluate, fit
from firstspike.train.batches import batches
from firstspike.train.distributed import ProcessGroup, local_device
from firstspike.train.loop import Forward

ROOT = Path(__file__).parents[2]
CONFIG = Config(data="digits", spec="64-32-10", steps=4, epochs=2, batch=50, limit=210, lr=0.005, threads=1)
CASES = [  # with 31 images the shares differ in size, with 1 one process has no image at all
    ("64-32-10", "membrane", 31),
    ("4C3-AP2-16-10", "twd-exp", 8),
    ("64-32-10", "twd-linear", 1),
]
needs_gloo = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch without gloo")

# Run by each process: gradients, a run with buffers, a run with another seed in each process; then the threads left.
PARTS = """
import os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from tests.train.test_distributed import CASES, CONFIG, buffers, fit, gradients
from firstspike.train.distributed import join

place, rank = Path(sys.argv[2]), int(os.environ["RANK"])
with join(torch.device("cpu")) as here:
    for index, (spec, readout, batch) in enumerate(CASES):
        save_file(gradients(CONFIG.replace(spec=spec, readout=readout), batch, here), place / f"{index}-{rank}.safetensors")
torch.save(buffers(), place / f"buffers-{rank}.pt")
try:
    fit(CONFIG.replace(seed=rank), progress=False)
except ValueError as error:
    (place / f"refused-{rank}").write_text(str(error))
names = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
(place / f"threads-{rank}").write_text("\\n".join(names))
"""

TRAIN = """
import os, sys
from firstspike.train import Config, checkpoint, fit
real = checkpoint.save
def stop(*args):
    real(*args)
    os._exit(3)
if len(sys.argv) > 3:
    checkpoint.save = stop
fit(Config.from_toml(sys.argv[1]), directory=sys.argv[2])
"""


def start(code, folder, *arguments):
    """Run code in two processes, as torchrun starts them."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def torchrun(code, folder, *arguments):
    """As `start`, to the end; returns stderr."""
    process = start(code, folder, *arguments)
    stderr = process.communicate(timeout=300)[1]
    assert process.returncode == 0, stderr
    return stderr


def gradients(config, batch, here):
    """All gradients of the first batch, after backward in this process and, through DDP, in the others."""
    dataset = data.load("digits", train=True)
    model = build_model(config, input_shape=dataset.input_shape)
    x, labels, whole = next(batches(dataset, batch, processes=here))
    forward = here.wrap(Forward(model))  # it must outlive the backward pass
    scores, seen = forward(x, True)
    assert seen is not None and len(seen.scores) == len(x)
    loss = F.cross_entropy(scores, labels, reduction="sum", label_smoothing=0.1)
    (loss * (here.world / whole)).backward()
    return {name: parameter.grad.contiguous() for name, parameter in model.named_parameters()}


class Lowered(nn.Module):
    """A loss with a running mean."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, scores, labels):
        loss = F.cross_entropy(scores, labels)
        self.mean.lerp_(loss.detach(), 0.1)
        return loss - 0.1 * self.mean


def buffers():
    """The tensors of a run whose net and loss have buffers that each process counts for its own share, and its losses."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    net, loss = nn.Sequential(*layers), Lowered()
    result = fit(CONFIG.replace(spec="", steps=8), model=net, loss=loss, progress=False)
    measured = evaluate(net, data.load("digits", train=False))
    return {**net.state_dict(), "loss": loss.mean}, result.test.loss, measured.loss


@needs_gloo
@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path):
    torchrun(PARTS, tmp_path, ROOT, tmp_path)
    for index, (spec, readout, batch) in enumerate(CASES):
        whole = gradients(CONFIG.replace(spec=spec, readout=readout), batch, ProcessGroup())
        assert any(bool(value.any()) for value in whole.values())
        for rank in range(2):
            part = load_file(tmp_path / f"{index}-{rank}.safetensors")
            for name, value in whole.items():
                scale = float(value.abs().max())
                torch.testing.assert_close(part[name], value, rtol=1e-4, atol=1e-5 * scale, msg=f"{spec} {name}")
    (first, told, measured), (second, *others) = (torch.load(tmp_path / f"buffers-{rank}.pt") for rank in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())  # so all measure the net that is saved
    assert others == [told, measured] and told == pytest.approx(measured, rel=1e-6)
    for rank in range(2):
        assert "every process of torchrun must be given the same run" in (tmp_path / f"refused-{rank}").read_text()
        # A thread that outlives the group may abort the process at its end.
        assert "gloo" not in (tmp_path / f"threads-{rank}").read_text()


@needs_gloo
@pytest.mark.slow
def test_two_processes_train_as_one_and_resume_with_the_same_bits(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(CONFIG.to_toml(), encoding="utf-8")
    stderr = torchrun(TRAIN, tmp_path, path, tmp_path / "whole")
    assert stderr.count("epoch 2/2,") == 1  # one process reports
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    one = fit(CONFIG, progress=False)
    assert result["processes"] == 2
    for entry, mine in zip(result["history"], one.history, strict=True):
        assert entry["test"]["images"] == mine.test.images == 360 and entry["train"]["images"] == 210
        assert entry["train"]["loss"] == pytest.approx(mine.train.loss, rel=0.02)
        assert abs(entry["test"]["accuracy"] - mine.test.accuracy) < 0.03
    stopped = start(TRAIN, tmp_path, path, tmp_path / "stopped", "after the first epoch")
    stopped.communicate()
    assert stopped.returncode and not (tmp_path / "stopped" / "result.json").exists()
    with locked(tmp_path / "stopped"):  # all wait for the folder
        process = start(TRAIN, tmp_path, path, tmp_path / "stopped")
        assert "waiting for another process" in next(line for line in process.stderr if "waiting" in line)
        assert process.poll() is None
    told = process.communicate()[1]
    assert process.returncode == 0, told
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("name", "rank", "devices", "wanted"),
    [("cuda", "1", 2, "cuda:1"), ("cuda", "1", 1, "cuda"), ("cuda", "", 2, "cuda"), ("cuda:0", "1", 2, "cuda:0"),
     ("cpu", "1", 2, "cpu")],
)  # fmt: skip
def test_each_process_takes_another_device(monkeypatch, name, rank, devices, wanted):
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert local_device(name) == torch.device(wanted)
