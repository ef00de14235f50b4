"""Executors: every task comes back once, whatever happens to workers."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from paper.execute import Task
from paper.execute.local import Local
from paper.runs import Run

from .samples import deadly_job, killing_job, quick_job

ROOT = Path(__file__).resolve().parents[2]


def tasks(folder, count=4):
    runs = [Run.of({"data": "digits", "spec": "64-10", "seed": seed}) for seed in range(count)]
    return [Task(run, folder / run.name) for run in runs]


def visits(folder):
    return {path.parent.name.split("-")[3]: len(path.read_text()) for path in folder.glob("*/visits")}


def test_in_this_process(tmp_path):
    outcomes = list(Local(0)(quick_job, tasks(tmp_path)))
    assert [outcome.run.seed for outcome in outcomes] == [0, 1, 2, 3]
    assert all(outcome.record is not None for outcome in outcomes)


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        Local(-1)


@pytest.mark.slow
def test_a_killed_worker_costs_one_attempt(tmp_path):
    outcomes = list(Local(2)(killing_job, tasks(tmp_path)))
    assert sorted(outcome.run.seed for outcome in outcomes) == [0, 1, 2, 3]
    assert all(outcome.record is not None for outcome in outcomes)
    assert visits(tmp_path)["s1"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_kills_every_worker_fails_and_the_others_do_not(tmp_path, workers):
    outcomes = {outcome.run.seed: outcome for outcome in Local(workers)(deadly_job, tasks(tmp_path, 3))}
    assert outcomes[1].record is None and outcomes[1].reason == "failed: its worker died"
    assert outcomes[0].record is not None and outcomes[2].record is not None
    assert 3 <= visits(tmp_path)["s1"] <= 3 + (workers > 1)  # one that died beside others does not count


def timed_job(task):
    began = time.time()
    time.sleep(0.5)
    task.workplace.mkdir(parents=True)
    (task.workplace / "times").write_text(f"{began} {time.time()}")
    return quick_job(task)


@pytest.mark.slow
def test_tasks_with_several_threads_do_not_run_side_by_side(tmp_path):
    two = [replace(task, threads=2) for task in tasks(tmp_path, 2)]
    assert len(list(Local(2)(timed_job, two))) == 2
    (_, first), (second, _) = sorted(tuple(map(float, path.read_text().split())) for path in tmp_path.glob("*/times"))
    assert first <= second


def test_a_worker_stands_for_one_core():
    one, two = (Task(Run.of({"data": "digits", "spec": "64-10"}), Path(), threads=count) for count in (1, 2))
    local = Local(3)
    assert local._has_room(two, [one]) and not local._has_room(two, [two])
    assert Local(1)._has_room(two, []) and not Local(1)._has_room(one, [one])


def sleeping_job(task):
    task.workplace.mkdir(parents=True)
    (task.workplace / "pid").write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.paper.test_execute import Local, sleeping_job, tasks\n"
        "if __name__ == '__main__': list(Local(1)(sleeping_job, tasks(Path(sys.argv[1]), 1)))\n"
    )
    (tmp_path / "parent.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py", tmp_path], env=environment)
    try:
        worker = _wait_for(lambda: next((int(p.read_text()) for p in tmp_path.glob("*/pid") if p.read_text()), None))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait_for(lambda: not _alive(worker) or None, seconds=10)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(ask, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (found := ask()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # distributed warns of ports in use and of its own deprecations
def test_dask_repeats_what_a_killed_worker_had_on_workers_that_cannot_import_us(tmp_path):
    distributed = pytest.importorskip("distributed")
    from paper.execute.dask import Dask

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    line = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        workers = [subprocess.Popen([*line, address], cwd=tmp_path, env=environment) for _ in range(2)]
        try:
            outcomes = list(Dask(address)(killing_job, tasks(tmp_path)))
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
    assert sorted(outcome.run.seed for outcome in outcomes) == [0, 1, 2, 3]
    assert all(outcome.record is not None for outcome in outcomes)
    assert visits(tmp_path)["s1"] == 2


def test_dask_without_distributed_says_what_to_install(monkeypatch):
    from paper.execute.dask import Dask

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="pip install distributed"):
        Dask("tcp://127.0.0.1:1")
