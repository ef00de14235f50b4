"""Where runs are executed: in this process, in worker processes of this machine, or on a dask.distributed cluster."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .runs import Run


@dataclass(frozen=True)
class Task:
    """A run and where it works.

    workplace: folder for its checkpoints. data: folder with the data sets, None for the default.
    """

    run: Run
    workplace: Path
    data: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a run: a record's contents, or the reason why there is none."""

    run: Run
    record: dict[str, Any] | None = None
    reason: str = ""
    how: str = ""


#: What is called for each task, on whatever machine.
Job = Callable[[Task], Outcome]


@dataclass(frozen=True)
class Executor:
    """`workers` processes on this machine, none to run in this process; or the cluster whose scheduler is at `address`.

    On this machine each worker stands for one core: tasks run side by side while their threads are at most `workers`, and
    one that has more runs alone. Where a worker is lost (killed, out of memory), dask gives its task to another one, up to
    three times; if the workplaces lie on storage that all workers see, it resumes from its last epoch.
    """

    workers: int = 0
    address: str | None = None

    def __call__(self, job: Job, tasks: list[Task]) -> Iterator[Outcome]:
        """Run the tasks; yield each outcome as soon as it is there. ImportError where dask.distributed is missing."""
        if self.address is None and self.workers == 0:
            yield from map(job, tasks)
            return
        try:
            import cloudpickle
            import distributed as untyped
        except ImportError as error:
            raise ImportError("worker processes need the package 'distributed': pip install distributed") from error
        distributed: Any = untyped
        packages = {sys.modules[name.partition(".")[0]] for name in (__name__, job.__module__)}
        for package in packages:  # by value: workers need firstspike alone
            cloudpickle.register_pickle_by_value(package)
        local = {"n_workers": self.workers, "threads_per_worker": 1, "memory_limit": None, "dashboard_address": None}
        options = local | {"processes": True} if self.address is None else {"address": self.address}
        try:
            with distributed.Client(**options, set_as_default=False) as client:
                yield from self._collect(client, distributed.as_completed(loop=client.loop), job, tasks, cloudpickle)
        finally:
            for package in packages:
                cloudpickle.unregister_pickle_by_value(package)

    def _collect(self, client: Any, done: Any, job: Job, tasks: list[Task], pickle: Any) -> Iterator[Outcome]:
        queue, under_way = deque(tasks), dict[str, Task]()

        def submit() -> None:
            while queue and self._has_room(queue[0], list(under_way.values())):
                task = queue.popleft()
                call = pickle.dumps(_Call(job, task))
                under_way[task.run.name] = task
                done.add(client.submit(pickle.loads, call, key=task.run.name, pure=False))

        submit()
        for future in done:
            task, error = under_way.pop(future.key), future.exception()
            if error is None:
                outcome = Outcome(task.run, *future.result())
                future.release()  # or dask would run it again if the worker that holds the result is lost
                yield outcome
            else:
                yield Outcome(task.run, reason=f"failed: {type(error).__name__}", how=str(error))
            submit()

    def _has_room(self, task: Task, under_way: list[Task]) -> bool:
        threads = sum(other.run.cores for other in under_way) + task.run.cores
        return self.address is not None or not under_way or threads <= self.workers


class _Call:
    """Its pickle, when loaded, runs the job: a worker that cannot import `paper` needs no function of ours."""

    def __init__(self, job: Job, task: Task) -> None:
        self.job, self.task = job, task

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (self.job, self.task)


def _plain(job: Job, task: Task) -> tuple[dict[str, Any] | None, str, str]:
    """The outcome without its class, which the client could not tell from its own."""
    outcome = job(task)
    return outcome.record, outcome.reason, outcome.how
