"""Local executor: a few worker processes, which end when their parent ends."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from .outcome import Job, Outcome, Task

ATTEMPTS = 3


class Local:
    """`workers` processes on this machine, less where a task has several threads; with 0, the tasks run in this process.

    Each worker stands for one core: tasks run side by side while their threads are at most `workers`, and one that has more
    runs alone.
    Where a worker dies (killed, out of memory), each task that was running is repeated alone, so that one that kills its worker
    takes no other with it; it fails when its worker dies the third time while nothing runs beside it. What a task had saved in
    its workplace is still there for the next attempt.
    """

    def __init__(self, workers: int) -> None:
        """Set the number of worker processes, at least 0."""
        if workers < 0:
            raise ValueError(f"workers must be at least 0, got {workers}")
        self.workers = workers

    def __call__(self, job: Job, tasks: list[Task]) -> Iterator[Outcome]:
        """Run the tasks in their order; yield outcomes as they come."""
        if self.workers == 0:
            yield from map(job, tasks)
            return
        waiting = list(tasks)
        while waiting:
            lost: list[Task] = []
            yield from self._with_one_pool(job, waiting, lost)
            for task in lost:
                yield from self._alone(job, task, tried=1 if len(lost) == 1 else 0)
                waiting.remove(task)

    def _alone(self, job: Job, task: Task, tried: int) -> Iterator[Outcome]:
        """Run one task until it is done or its worker has died too often, `tried` times before."""
        left = [task]
        while left and tried < ATTEMPTS:
            yield from self._with_one_pool(job, left, [])
            tried += 1
        if left:
            yield Outcome(
                task.run, reason="failed: its worker died", how=f"it was tried {ATTEMPTS} times; is memory short?"
            )

    def _with_one_pool(self, job: Job, waiting: list[Task], lost: list[Task]) -> Iterator[Outcome]:
        """Run what is `waiting` until it is done or the pool breaks; what was under way then goes into `lost`."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, _watch_parent) as pool:
            under_way: dict[Future[Outcome], Task] = {}
            queue = deque(waiting)
            try:
                while True:
                    while queue and self._has_room(queue[0], under_way.values()):
                        task = queue.popleft()
                        under_way[pool.submit(job, task)] = task
                    if not under_way:
                        return
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcome = future.result()
                        waiting.remove(under_way.pop(future))
                        yield outcome
            except BrokenProcessPool:
                for future in [future for future in under_way if future.done() and future.exception() is None]:
                    waiting.remove(under_way.pop(future))
                    yield future.result()
                lost += under_way.values()
            except BaseException:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise

    def _has_room(self, task: Task, under_way: Collection[Task]) -> bool:
        return not under_way or sum(other.threads for other in under_way) + task.threads <= self.workers


def _watch_parent() -> None:
    """Let a worker end when its parent does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
