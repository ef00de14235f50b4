"""Dask executor: the tasks go to a running dask.distributed cluster, whose workers need firstspike alone."""

import sys
from collections.abc import Iterator
from typing import Any

from .outcome import Job, Outcome, Task

ATTEMPTS = 3


class Dask:
    """The cluster whose scheduler is at `address`, such as "tcp://10.0.0.1:8786".

    Where a worker is lost, the scheduler gives its task to another one; a task that the scheduler gives up is sent
    again, up to three times. The workplaces should lie on storage that all workers see: a repeated run then resumes
    from its last epoch.
    """

    def __init__(self, address: str) -> None:
        """Connect when called; ImportError that says what to install where dask.distributed is not there."""
        try:
            import cloudpickle
            import distributed
        except ImportError as error:
            raise ImportError("the dask executor needs the package 'distributed': pip install distributed") from error
        self.address = address
        self._distributed: Any = distributed
        self._cloudpickle: Any = cloudpickle

    def __call__(self, job: Job, tasks: list[Task]) -> Iterator[Outcome]:
        """Submit all tasks; yield outcomes as they come."""
        packages = {name.partition(".")[0] for name in (__name__, job.__module__)}
        for name in packages:
            self._cloudpickle.register_pickle_by_value(sys.modules[name])
        try:
            with self._distributed.Client(self.address, set_as_default=False) as client:
                yield from self._collect(client, job, tasks)
        finally:
            for name in packages:
                self._cloudpickle.unregister_pickle_by_value(sys.modules[name])

    def _collect(self, client: Any, job: Job, tasks: list[Task]) -> Iterator[Outcome]:
        under_way: dict[str, tuple[Task, int]] = {}
        results = self._distributed.as_completed(loop=client.loop)

        def submit(task: Task, attempt: int) -> None:
            payload = self._cloudpickle.dumps(_Call(job, task))
            future = client.submit(self._cloudpickle.loads, payload, key=f"{task.run.name}-{attempt}", pure=False)
            under_way[future.key] = task, attempt
            results.add(future)

        for task in tasks:
            submit(task, 1)
        for future in results:
            task, attempt = under_way.pop(future.key)
            error = future.exception()
            if error is None:
                record, reason, how = future.result()
                yield Outcome(task.run, record, reason, how)
            elif attempt < ATTEMPTS:
                submit(task, attempt + 1)
            else:
                yield Outcome(task.run, reason=f"failed: {type(error).__name__}", how=str(error))


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
