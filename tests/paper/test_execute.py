"""Executors: every task comes back once, whatever happens to workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paper.execute import Executor, Task
from paper.runs import Run

import firstspike

from .samples import killing_job, quick_job

workers = pytest.mark.filterwarnings("ignore")  # distributed warns of ports in use and of its own deprecations


def tasks(folder, count=4, **settings):
    runs = [Run.of({"data": "digits", "spec": "64-10", "seed": seed, **settings}) for seed in range(count)]
    return [Task(run, folder / run.name) for run in runs]


def visits(folder):
    return {path.parent.name.split("-")[3]: len(path.read_text()) for path in folder.glob("*/visits")}


def test_in_this_process(tmp_path):
    outcomes = list(Executor()(quick_job, tasks(tmp_path)))
    assert [outcome.run.seed for outcome in outcomes] == [0, 1, 2, 3]
    assert all(outcome.record is not None for outcome in outcomes)


@workers
@pytest.mark.slow
def test_a_killed_worker_costs_one_attempt_and_a_task_that_kills_every_worker_fails(tmp_path):
    pytest.importorskip("distributed")
    outcomes = {outcome.run.seed: outcome for outcome in Executor(2)(killing_job, tasks(tmp_path))}
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert outcomes[2].record is None and outcomes[2].reason == "failed: KilledWorker"
    assert all(outcomes[seed].record is not None for seed in (0, 1, 3))
    assert visits(tmp_path)["s1"] >= 2


@workers
@pytest.mark.slow
def test_a_cluster_whose_workers_cannot_import_us(tmp_path):
    distributed = pytest.importorskip("distributed")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(Path(firstspike.__file__).parents[1])
    line = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        started = [subprocess.Popen([*line, address], cwd=tmp_path, env=environment) for _ in range(2)]
        try:
            outcomes = list(Executor(address=address)(killing_job, tasks(tmp_path, 2)))
        finally:
            for worker in started:
                worker.terminate()
            for worker in started:
                worker.wait()
    assert sorted(outcome.run.seed for outcome in outcomes) == [0, 1] and visits(tmp_path)["s1"] == 2
    assert all(outcome.record is not None for outcome in outcomes)


def test_a_worker_stands_for_one_core(tmp_path):
    (one,), (two,) = tasks(tmp_path, 1), tasks(tmp_path, 1, threads=2)
    assert Executor(3)._has_room(two, [one]) and not Executor(3)._has_room(two, [two])
    assert Executor(1)._has_room(two, []) and not Executor(1)._has_room(one, [one])
