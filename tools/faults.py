"""Faults from outside: each is provoked in separate processes, and docs/faults.md tells what happened.

    python -m tools.faults            all
    python -m tools.faults NAME ...   some; the page's other rows stay

A trial returns what happened, or fails where firstspike's promise is broken: no loss of a finished epoch, the same bits after the
same command is run again, and one line instead of a traceback. Linux only; those with a mounted folder need root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from firstspike import provenance
from tools import ROOT

PAGE = ROOT / "docs" / "faults.md"
LIMIT = 300  # seconds for one process
COMMAND = (sys.executable, "-m", "firstspike")
SETTINGS = 'data = "digits"\nspec = "64-32-10"\nsteps = 4\nepochs = {}\nthreads = 1\n'
Trial = Callable[[Path], str]
TRIALS: dict[str, tuple[str, Trial]] = {}


class NotTried(Exception):
    """The trial needs what this machine has not."""


def trial(title: str) -> Callable[[Trial], Trial]:
    """Register a trial under its function's name."""

    def add(function: Trial) -> Trial:
        TRIALS[function.__name__] = title, function
        return function

    return add


def start(*command: object, **environment: str) -> subprocess.Popen[str]:
    settings = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "FIRSTSPIKE_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, **settings},
    )


def end(process: subprocess.Popen[str], seconds: float = LIMIT) -> tuple[int, str]:
    """Status and output of a process; one that does not end in time is killed, and the trial fails."""
    try:
        return (lambda text: (process.returncode, text))(process.communicate(timeout=seconds)[0])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"no end after {seconds} s: {process.communicate()[0][-500:]}") from None


def succeed(*command: object, **environment: str) -> str:
    status, text = end(start(*command, **environment))
    assert status == 0, text[-1000:]
    return text


def one_line(text: str) -> str:
    """The last line of an output, without a traceback."""
    assert "Traceback" not in text, text[-1000:]
    return text.strip().splitlines()[-1]


def config(folder: Path, epochs: int = 12) -> Path:
    file = folder / "run.toml"
    file.write_text(SETTINGS.format(epochs))
    return file


def training(folder: Path, run: Path, *python: str, epochs: int = 12) -> tuple[object, ...]:
    """The command that trains a small net into a folder."""
    return (COMMAND[0], *python, *COMMAND[1:], "train", config(folder, epochs), "--directory", run, "--no-progress")


def whole(epochs: int = 12) -> Path:
    """A run without a fault, to compare with; made once."""
    folder = Path(_whole.name) / str(epochs)
    if not folder.exists():
        folder.mkdir()
        succeed(*training(folder, folder / "run", epochs=epochs))
    return folder / "run"


_whole = tempfile.TemporaryDirectory(prefix="faults-whole-")


def same(first: Path, second: Path) -> bool:
    """Whether two runs end with the same bits."""
    a, b = (load_file(run / "model.safetensors") for run in (first, second))
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    while not condition():
        assert process.poll() is None and time.monotonic() - begin < LIMIT, "the run ended before the fault"
        time.sleep(0.02)


def begun(run: Path) -> Callable[[], bool]:
    """Whether a run has stored an epoch."""
    return lambda: run.is_dir() and any(path.suffix == ".safetensors" for path in run.iterdir())


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        raise NotTried("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@trial("a process of data-parallel training is killed (SIGKILL)")
def killed_rank(folder: Path) -> str:
    launch, run = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"), folder / "run"
    command = (*launch, *training(folder, run, epochs=100)[1:])
    process = start(*command)
    wait_for(begun(run), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = [int(child) for child in children if b"firstspike" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(ranks[-1], signal.SIGKILL)
    begin = time.monotonic()
    assert end(process, 120)[0] != 0
    seconds = time.monotonic() - begin
    assert not (run / "result.json").exists(), "the run ended before the fault"
    succeed(*command)
    return f"torchrun ends the other process ({seconds:.0f} s); the same command completes the run"


@trial("four processes load data and a net, and run kernels, for the first time at once")
def first_loads(folder: Path) -> str:
    code = """
import torch
from firstspike import data, models
data.load("digits", train=True)
print(models.load_pretrained("digits-mlp")(torch.ones(1, 1, 8, 8)).sum().item())
"""
    caches = {"XDG_CACHE_HOME": str(folder / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    results = [end(process) for process in [start(sys.executable, "-c", code, **caches) for _ in range(4)]]
    assert all(status == 0 for status, _ in results) and len({text for _, text in results}) == 1, results
    return "all give the same scores"


@trial("the disk is full while a run is stored (a file system of 64 kB)")
def full_disk(folder: Path) -> str:
    reference = whole()
    with mounted(folder / "small", "size=64k") as place:
        status, text = end(start(*training(folder, place / "run")))
        told = one_line(text)
        assert status == 1 and "No space left" in told, text[-1000:]
        left = {path.name for path in place.rglob("*.partial")}
        assert not left, left
        subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)
        succeed(*training(folder, place / "run"))
        assert same(place / "run", reference)
    return "one line (No space left on device), status 1, no partial file; with room, the same command gives the same bits"


@trial("the folder is read-only")
def read_only(folder: Path) -> str:
    reference = whole()
    with mounted(folder / "fixed", "size=16m") as place:
        shutil.copytree(reference, place / "run")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        succeed(*COMMAND, "eval", place / "run")
        succeed(*COMMAND, "emulate", place / "run", "--limit", "20", HOME=str(place), XDG_CACHE_HOME=str(place / "cache"))
        status, text = end(start(*training(folder, place / "new")))
        assert status == 1 and "Read-only" in one_line(text), text[-1000:]
    return "`eval` and `emulate` read from it; `train` into it ends with one line, status 1"


@trial("the locale is C, names are not ASCII")
def locale_c(folder: Path) -> str:
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    place = folder / "Läufe ☃"
    place.mkdir()
    succeed(*training(place, place / "run"), **plain)
    succeed(*COMMAND, "eval", place / "run", **plain)
    succeed(*COMMAND, "emulate", place / "run", "--limit", "20", "--output", place / "report", **plain)
    assert same(place / "run", whole())
    return "the same bits; the report is written"


@trial("`python -O`, which leaves out assertions")
def optimized(folder: Path) -> str:
    succeed(*training(folder, folder / "run", "-O"))
    assert same(folder / "run", whole())
    succeed(sys.executable, "-O", "-m", "firstspike", "emulate", folder / "run", "--limit", "20")
    return "the same bits"


def stopped(folder: Path, *signals: signal.Signals) -> str:
    """Stop a training by signals, and run its command again."""
    run, epochs = folder / "run", 60
    process = start(*training(folder, run, epochs=epochs))
    wait_for(begun(run), process)
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.01)
    status, text = end(process, 60)
    assert status in (130, *(-number for number in signals)), (status, text[-1000:])
    told = one_line(text) if text.strip() else "nothing"
    succeed(*training(folder, run, epochs=epochs))
    assert same(run, whole(epochs))
    said = "one line says how to resume" if "again to resume" in told else "nothing is told"
    return f"status {status}, {said}; the same command gives the same bits"


@trial("SIGTERM in training")
def terminated(folder: Path) -> str:
    return stopped(folder, signal.SIGTERM)


@trial("Ctrl-C twice in training (two SIGINT within 10 ms)")
def interrupted_twice(folder: Path) -> str:
    return stopped(folder, signal.SIGINT, signal.SIGINT)


def stopped_reproduction(folder: Path, *signals: signal.Signals) -> str:
    results = folder / "results"
    command = (sys.executable, "paper/reproduce.py", "--profile", "smoke", "--results", results)
    process = start(*command)
    wait_for(lambda: results.is_dir() and any(results.rglob("*.json")), process)
    for number in signals:
        os.killpg(process.pid, number)  # as a terminal does: all processes get it
        time.sleep(0.01)
    status, text = end(process, 60)
    assert status != 0, text[-1000:]
    told = "no traceback" if "Traceback" not in text else "tracebacks of workers"
    succeed(*command)
    return f"status {status}, {told}; the same command completes it"


@trial("SIGTERM in the reproduction")
def reproduction_terminated(folder: Path) -> str:
    return stopped_reproduction(folder, signal.SIGTERM)


@trial("Ctrl-C twice in the reproduction")
def reproduction_interrupted_twice(folder: Path) -> str:
    return stopped_reproduction(folder, signal.SIGINT, signal.SIGINT)


@trial("16,000 steps of training and as many of inference")
def memory(folder: Path) -> str:
    code = """
import torch
from firstspike import models
from tools.memory import resident
net = models.build("4C3-AP2-16-10", input_shape=(1, 8, 8), steps=4)
optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
sizes = []
for step in range(16000):
    x = torch.rand(1 + step % 8, 1, 8, 8)
    loss = net(x).square().mean()
    optimizer.zero_grad(), loss.backward(), optimizer.step()
    with torch.no_grad():
        net(x)
    if step in (3999, 15999):
        sizes.append(resident())
print((sizes[1] - sizes[0]) / 2**20)
"""
    grown = float(succeed(sys.executable, "-c", code).strip())
    assert grown < 8, f"{grown:.1f} MiB"
    return f"{max(grown, 0):.1f} MiB more after 16,000 steps than after 4,000"


FORKING = """
import os, sys, threading, time, torch
from firstspike import SpikeTimes, functional
torch.set_num_threads(2)
x = SpikeTimes(torch.randint(0, 8, (64, 512), dtype=torch.uint8), 8)
weight = torch.rand(512, 512)
ours, theirs = (lambda: functional.linear(x, weight)), (lambda: torch.rand(4000000).sort())
work = ours if sys.argv[1] == "firstspike" else theirs
work()
end = []
thread = threading.Thread(target=lambda: [work() for _ in iter(lambda: not end, False)])
thread.start()
time.sleep(0.2)
child = os.fork()
if child == 0:
    work()
    os._exit(0)
begin = time.monotonic()
while os.waitpid(child, os.WNOHANG) == (0, 0):
    if time.monotonic() - begin > 20:
        os.kill(child, 9), os.waitpid(child, 0), print("hangs")
        break
    time.sleep(0.05)
else:
    print("ends")
end.append(True)
thread.join()
"""


@trial("a child is forked while another thread computes, and computes itself")
def forked(folder: Path) -> str:
    ours, torchs = (succeed(sys.executable, "-c", FORKING, name).strip() for name in ("firstspike", "torch"))
    return f"the child {ours}; with torch alone it {torchs} (start processes before threads, or by spawn)"


def attempt(name: str) -> tuple[str, str]:
    """(title, what happened) of a trial, in an empty folder."""
    title, function = TRIALS[name]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        begin = time.monotonic()
        try:
            told = function(Path(folder))
        except NotTried as reason:
            told = f"not tried: {reason}"
        except AssertionError as error:
            told = f"**FAILED**: {error}"
    print(f"{name}: {told} ({time.monotonic() - begin:.0f} s)", flush=True)
    return title, told.replace("|", "/").replace("\n", " ")


def write_page(rows: list[tuple[str, str]], commit: str) -> None:
    """Put rows (title, what happened) into the page; the rows of other trials stay."""
    before = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    kept = {line.split(" | ")[0]: line for line in before if line.startswith("| ")}
    kept |= {f"| {title}": f"| {title} | {told} | {commit} |" for title, told in rows}
    lines = [kept[f"| {title}"] for title, _ in TRIALS.values() if f"| {title}" in kept]
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions(("torch",)).items())
    text = "\n".join([HEAD, "| fault | what happened | commit |", "|---|---|---|", *lines, ""])
    PAGE.write_text(f"{text}\n{provenance.processor()}, {provenance.cores()} cores; {versions}.\n", encoding="utf-8")


HEAD = """# Faults from outside

What was tried on purpose, and what happened. `nox -s faults` tries it again and writes this page (`tools/faults.py`).
"""


def main(names: list[str]) -> int:
    rows = [attempt(name) for name in names or TRIALS]
    write_page(rows, (provenance.commit(ROOT, ("python", "cpp", "paper")) or "unknown")[:12])
    return int(any(told.startswith("**FAILED**") for _, told in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
