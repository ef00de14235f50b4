"""What a run returns: its history, one entry per epoch, and figures drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base import fields
from .config import Config
from .metrics import Metrics
from .trained import Trained


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: 1, 2, ...
        lr: learning rate of its last step.
        train: measured while the weights changed, on augmented images; spikes and steps in every tenth batch only.
        validation: on the images held out; None without any.
        test: on the test set; None where it was not measured in this epoch.
        seconds: of the training part.
        step_seconds: of them, in forward, loss, backward and optimizer.
        evaluation_seconds: of the measurements.

    Examples:
        >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=2), progress=False)
        >>> [(epoch.epoch, epoch.test.images) for epoch in result.history]
        [(1, 360), (2, 360)]
    """

    epoch: int
    lr: float
    train: Metrics
    validation: Metrics | None
    test: Metrics | None
    seconds: float
    step_seconds: float
    evaluation_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON can hold it."""
        parts = {name: part and part.to_dict() for name, part in self._parts().items()}
        return {**vars(self), **parts}

    def _parts(self) -> dict[str, Metrics | None]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Epoch:
        """The entry out of `to_dict`. Raises KeyError, TypeError or ValueError for others."""
        parts = {name: values[name] and Metrics.from_dict(values[name]) for name in ("train", "validation", "test")}
        found = cls(**{**values, **parts})
        fields.check_types(found)
        return found


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run.

    Attributes:
        config: its config.
        history: one entry per epoch.
        parameters: number of the net's parameters, frozen ones included.
        peak_memory: bytes, the most in use by the process (on CUDA: on the device).
        sources: where the training and the test images came from.
        processes: how many shared each batch.
        data: what it was trained and tested on, see `Trained.data`.
        given: what was given in Python instead of by the config (net, loss, optimizer), by name.
        details: what tells a given loss, optimizer and `init_from` from others of the same names, which a later call of `fit`
            with the same folder compares. Empty in older files.
        sessions: one entry per process that worked on the run: commit, versions, machine, time, its first epoch.
        trained: the net, in eval mode on the device of the run, with the scaling of its input. None in a result that was
            read from a file. Two results are equal whatever this is.

    Examples:
        >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), progress=False)
        >>> len(result.history), result.parameters, result.test is result.history[-1].test
        (1, 1236, True)
        >>> train.Result.from_dict(result.to_dict()) == result
        True
        >>> result.trained.model(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    config: Config
    history: tuple[Epoch, ...]
    parameters: int
    peak_memory: int
    sources: tuple[str, str]
    processes: int = 1
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    sessions: tuple[dict[str, Any], ...] = ()
    details: dict[str, str] = field(default_factory=dict)
    trained: Trained | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        net = self.config.spec or self.given.get("model", "a given net")
        name = str(self.data.get("train", {}).get("name", self.config.data))
        return (
            f"Result({name}, {net}: {len(self.history)} epochs, test accuracy {100 * self.test.accuracy:.2f} %, "
            f"{self.parameters} parameters)"
        )

    @property
    def test(self) -> Metrics:
        """The last epoch's measures on the test set: the result that counts."""
        last = self.history[-1].test
        assert last is not None  # the last epoch is always measured on the test set
        return last

    @property
    def best(self) -> Metrics:
        """The measures of the epoch with the best test accuracy, the first of equals: never the result itself."""
        return max((entry.test for entry in self.history if entry.test is not None), key=lambda m: m.accuracy)

    @property
    def seconds(self) -> float:
        """Seconds in all epochs, training and measuring."""
        return sum(entry.seconds + entry.evaluation_seconds for entry in self.history)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "program": "firstspike",
            "config": self.config.to_dict(),
            "history": [entry.to_dict() for entry in self.history],
            "parameters": self.parameters,
            "peak_memory": self.peak_memory,
            "sources": list(self.sources),
            "processes": self.processes,
            "data": self.data,
            "given": self.given,
            "details": self.details,
            "sessions": list(self.sessions),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """The result out of `to_dict`. Raises KeyError, TypeError or ValueError for others."""
        first, second = values["sources"]
        found = cls(
            config=Config.from_dict(values["config"]),
            history=tuple(Epoch.from_dict(entry) for entry in values["history"]),
            parameters=values["parameters"],
            peak_memory=values["peak_memory"],
            sources=(first, second),
            processes=values["processes"],
            data=values.get("data", {}),
            given=values.get("given", {}),
            details=values.get("details", {}),
            sessions=tuple(values.get("sessions", ())),
        )
        fields.check_types(found)
        if not found.history or found.history[-1].test is None:
            raise ValueError("the history must end with an epoch that was measured on the test set")
        return found
