"""Data-parallel training with two gloo processes: the gradients, and the run, of one process on whole batches."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from firstspike import data
from firstspike._base.files import locked
from firstspike.data import Normalize
from firstspike.train import Config, build_model, fit
from firstspike.train.batches import batches
from firstspike.train.distributed import ProcessGroup, own_device
from firstspike.train.loop import Forward, batch_loss

ROOT = Path(__file__).parents[2]
CONFIG = Config(data="digits", spec="64-32-10", steps=4, epochs=2, batch=50, limit=210, lr=0.005, threads=1)

CASES = [  # with 31 images the shares differ in size, with 1 one process has no image at all
    ("64-32-10", "membrane", 31),
    ("4C3-AP2-16-10", "twd-exp", 8),
    ("64-32-10", "twd-linear", 1),
]

GRADIENTS = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from firstspike.train.distributed import join

sys.path.insert(0, sys.argv[1])
from tests.train.test_distributed import CASES, CONFIG, gradients

with join(torch.device("cpu")) as here:
    for index, (spec, readout, batch) in enumerate(CASES):
        found = gradients(CONFIG.replace(spec=spec, readout=readout), batch, here)
        save_file(found, Path(sys.argv[2]) / f"{index}-{here.rank}.safetensors")
"""

TRAIN = """
import sys
from firstspike.train import Config, fit
fit(Config.from_toml(sys.argv[1]), directory=sys.argv[2])
"""

THREADS = """
import os, sys
from pathlib import Path
from firstspike.train import Config, fit
fit(Config.from_toml(sys.argv[1]))
names = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
Path(sys.argv[2], os.environ["RANK"]).write_text("\\n".join(names))
"""

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch without gloo")


def torchrun(processes, code, folder, *arguments):
    """Run code in so many processes, as torchrun starts them; the script is written to the folder. Returns its stderr."""
    done = run_script(processes, code, folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def run_script(processes, code, folder, *arguments):
    """As `torchrun`, however it ends."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(script),
        *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture
def toml(tmp_path):
    def write(config):
        path = tmp_path / "run.toml"
        path.write_text(config.to_toml(), encoding="utf-8")
        return path

    return write


def gradients(config, batch, here):
    """All gradients of the first batch, after backward in this process and, through DDP, in the others."""
    dataset = data.load("digits", train=True)
    model = build_model(config, input_shape=dataset.input_shape)
    x, labels, whole = next(batches(dataset, Normalize(), batch, processes=here))
    forward = here.wrap(Forward(model))  # it must outlive the backward pass
    scores, seen = forward(x, True)
    assert seen is not None and len(seen.scores) == len(x)
    (batch_loss(scores, labels, 0.1) * (here.world / whole)).backward()
    return {name: parameter.grad.contiguous() for name, parameter in model.named_parameters()}


@pytest.mark.slow
def test_gradients_are_those_of_the_whole_batch(tmp_path):
    torchrun(2, GRADIENTS, tmp_path, ROOT, tmp_path)
    for index, (spec, readout, batch) in enumerate(CASES):
        whole = gradients(CONFIG.replace(spec=spec, readout=readout), batch, ProcessGroup())
        assert any(bool(value.any()) for value in whole.values())
        for rank in range(2):
            part = load_file(tmp_path / f"{index}-{rank}.safetensors")
            assert part.keys() == whole.keys()
            for name, value in whole.items():
                scale = float(value.abs().max())
                torch.testing.assert_close(part[name], value, rtol=1e-4, atol=1e-5 * scale, msg=f"{spec} {name}")


@pytest.mark.slow
def test_two_processes_train_as_one(toml, tmp_path):
    path = toml(CONFIG)
    stderr = torchrun(2, TRAIN, tmp_path, path, tmp_path / "two")
    assert stderr.count("epoch 2/2,") == 1  # one process reports
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    one = fit(CONFIG, progress=False)
    assert result["processes"] == 2
    for entry, mine in zip(result["history"], one.history, strict=True):
        assert entry["test"]["images"] == mine.test.images == 360 and entry["train"]["images"] == 210
        assert entry["train"]["loss"] == pytest.approx(mine.train.loss, rel=0.02)
        assert abs(entry["test"]["accuracy"] - mine.test.accuracy) < 0.03
    again = torchrun(2, TRAIN, tmp_path, path, tmp_path / "two")
    assert "epoch" not in again  # finished: only read


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in /proc")
def test_no_thread_of_the_group_outlives_it(toml, tmp_path):
    """One that does may still want the interpreter when that has ended, which aborts the process."""
    torchrun(2, THREADS, tmp_path, toml(CONFIG.replace(epochs=1)), tmp_path)
    for rank in range(2):
        left = (tmp_path / str(rank)).read_text().split("\n")
        assert not any("gloo" in name for name in left), left


@pytest.mark.slow
def test_two_processes_resume_with_the_same_bits(toml, tmp_path):
    path = toml(CONFIG)
    torchrun(2, TRAIN, tmp_path, path, tmp_path / "whole")
    broken = TRAIN.replace(
        "fit(Config",
        "from firstspike.train import fit as _, checkpoint\n"
        "import os\n"
        "real = checkpoint.save\n"
        "def stop(*args):\n"
        "    real(*args)\n"
        "    os._exit(3)\n"
        "checkpoint.save = stop\n"
        "fit(Config",
    )
    with pytest.raises(AssertionError):
        torchrun(2, broken, tmp_path, path, tmp_path / "broken")
    assert (tmp_path / "broken" / "checkpoint.json").is_file() and not (tmp_path / "broken" / "result.json").exists()
    torchrun(2, TRAIN, tmp_path, path, tmp_path / "broken")
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name


@pytest.mark.parametrize(
    ("name", "local_rank", "devices", "wanted"),
    [
        ("cuda", "1", 2, "cuda:1"),
        ("cuda", "0", 2, "cuda:0"),
        ("cuda", "1", 1, "cuda"),  # each process sees a device of its own (CUDA_VISIBLE_DEVICES)
        ("cuda", None, 2, "cuda"),
        ("cuda:0", "1", 2, "cuda:0"),
        ("cpu", "1", 2, "cpu"),
    ],
)
def test_each_process_takes_a_device_of_its_own(monkeypatch, name, local_rank, devices, wanted):
    if local_rank is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert own_device(name) == torch.device(wanted)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 5, 128])
def test_shares_are_contiguous_and_even(world, total):
    bounds = [ProcessGroup(rank, world).share(total) for rank in range(world)]
    assert bounds[0][0] == 0 and bounds[-1][1] == total
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    sizes = [last - first for first, last in bounds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
def test_processes_wait_together_for_a_busy_folder(toml, tmp_path):
    """The first process waits for the lock; the others stay with it, and all of them train when it is free."""
    path = toml(CONFIG)
    script = tmp_path / "script.py"
    script.write_text(TRAIN, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    with locked(tmp_path / "run"):
        process = subprocess.Popen(
            [*command, str(path), str(tmp_path / "run")],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        told = next(line for line in process.stderr if "waiting for" in line)
        assert "waiting for another process" in told and process.poll() is None
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, rest
    assert json.loads((tmp_path / "run" / "result.json").read_text())["processes"] == 2
