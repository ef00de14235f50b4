"""Executors: every task comes back once, whatever happens to workers."""

import pytest
from paper.execute import Executor, Task
from paper.runs import Run

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
