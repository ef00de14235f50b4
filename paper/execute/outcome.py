"""What goes to an executor and what comes back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..runs import Run


@dataclass(frozen=True)
class Task:
    """A run and where it works.

    workplace: folder for its checkpoints. data: folder with the data sets, None for the default. threads: of torch.
    """

    run: Run
    workplace: Path
    data: str | None = None
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a run: a record's contents, or the reason why there is none."""

    run: Run
    record: dict[str, Any] | None = None
    reason: str = ""
    how: str = ""


#: What an executor calls for each task, on whatever machine. It must be importable there, or picklable.
Job = Callable[[Task], Outcome]


class Executor(Protocol):
    """Runs tasks; yields each outcome as soon as it is there. A task whose worker died is repeated."""

    def __call__(self, job: Job, tasks: list[Task]) -> Iterator[Outcome]: ...
