"""What a run returns and records: its identity, one entry per epoch, and the measures in them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr
from torch import nn

from .._base.checks import counted
from .._base.files import sha256
from .._base.records import Record
from .config import Config


class Metrics(Record):
    """Measures over a set of images. A measure that does not exist for a net (spikes of a ReLU net) is None.

    Attributes
    ----------
    images : their number.
    loss, accuracy : mean loss, and share of correct predictions, 0..1.
    stopped : the accuracy of the net if it stopped after 1, 2, ... T steps (`models.stop_after`), 0..1; None in nets of windows.
    steps_mean, steps_median, steps_p95 : `Observation.decision_step` + 1, 1..T (T where no output spike came), which with a
        membrane readout is known only at the end. A quantile is the smallest number that so many images do not exceed.
    ties : share of images whose first output step has spikes of several classes, 0..1.
    silent : share of images without an output spike, 0..1.
    spikes_per_image : mean spikes per image.
    spikes_per_neuron, spikes_per_layer : mean spikes per neuron and image over all firing layers, and for each, 0..1; None
        if `models.TTFSNet.observe` sees none.
    pooled_twice : share of the units of max pools that fired more than once, 0..1; None without a max pool.

    Examples
    --------
    >>> net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8)
    >>> train.evaluate(net, data.load("digits", train=False)).images
    360
    """

    images: int
    loss: float
    accuracy: float
    stopped: tuple[float, ...] | None = None
    steps_mean: float | None = None
    steps_median: float | None = None
    steps_p95: float | None = None
    ties: float | None = None
    silent: float | None = None
    spikes_per_neuron: float | None = None
    spikes_per_layer: tuple[float, ...] | None = None
    spikes_per_image: float | None = None
    pooled_twice: float | None = None


class Epoch(Record):
    """One epoch, from 1.

    Attributes
    ----------
    epoch : its number, from 1.
    lr : learning rate of its last step.
    train : measured while the weights changed, on augmented images; spikes and steps in every tenth batch only.
    validation, test : None where they were not measured in this epoch.
    seconds : of the training part.
    step_seconds : of these, in forward, loss, backward and optimizer.
    evaluation_seconds : of the measurements.

    Examples
    --------
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


class DataFacts(Record):
    """What a record says of one part of the data; None where unknown.

    source: where its bytes came from; of a DataLoader, the class of its data set. recipe: with which `data.reload` loads it.
    batch, batches: of a DataLoader.
    """

    name: str
    source: str
    samples: int | None = None
    classes: int | None = None
    fingerprint: str | None = None
    recipe: dict[str, Any] | None = None
    batch: int | None = None
    batches: int | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What is equal for equal data: the fingerprint, or what a DataLoader tells of them."""
        return (self.fingerprint,) if self.fingerprint else (self.source, self.samples, self.batch, self.batches)


def _both_parts(data: dict[str, DataFacts]) -> dict[str, DataFacts]:
    if set(data) != {"train", "test"}:
        raise ValueError(f"must have the parts train and test, got {sorted(data)}")
    return data


RunData = Annotated[dict[str, DataFacts], AfterValidator(_both_parts)]


class RunInfo(Record):
    """What identifies a run: config (a run with more epochs is the same run), data, and the `tag` that `fit` was given.

    Parameters
    ----------
    config, data, tag : what identifies the run.
    epoch : finished epochs.

    Examples
    --------
    >>> train.load_info(models.pretrained_file("digits-cnn")).config.spec
    '16C3-AP2-32C3-AP2-64-10'
    """

    config: Config
    data: RunData
    tag: str = ""
    epoch: int = 0

    @property
    def id(self) -> str:
        """The sha256 of config (without epochs), data and tag, as 64 hexadecimal digits."""
        config = self.config.to_dict()
        del config["epochs"]
        facts = {name: part.identity for name, part in self.data.items()}
        return sha256(json.dumps([config, facts, self.tag], sort_keys=True).encode())

    def differences(self, other: RunInfo) -> list[str]:
        """In what the run differs from another, each as "name: mine, not other's"."""
        differences = [line for line in self.config.differences(other.config) if not line.startswith("epochs:")]
        for name in self.data:
            mine, theirs = self.data[name], other.data[name]
            if mine.identity != theirs.identity:
                differences.append(f"{name} data: {mine!r:.300}, not {theirs!r:.300}")
        return differences + ([f"tag: {self.tag!r}, not {other.tag!r}"] if self.tag != other.tag else [])


class Result(Record):
    """A finished run.

    Parameters
    ----------
    config, data, tag : what identifies it, see `RunInfo`.
    history : one entry per epoch.
    parameters : of the net, frozen ones included.
    peak_memory : bytes.
    processes : that shared each batch.
    sessions : one entry per process that worked on the run: commit, versions, machine, time, threads, its first epoch.

    Examples
    --------
    >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), progress=False)
    >>> len(result.history), result.parameters, result.test is result.history[-1].test
    (1, 1236, True)
    >>> result.model(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    config: Config
    data: RunData
    tag: str = ""
    history: tuple[Epoch, ...] = Field(min_length=1)
    parameters: int
    peak_memory: int
    processes: int = 1
    sessions: tuple[dict[str, Any], ...] = ()
    _net: nn.Module | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return (
            f"Result({self.data['train'].name}, {self.config.spec or 'a given net'}: {counted(len(self.history), 'epoch')}, "
            f"test accuracy {100 * self.test.accuracy:.2f} %, {self.parameters} parameters)"
        )

    __str__ = __repr__

    @property
    def model(self) -> nn.Module:
        """The net, in evaluation mode on the device of the run; AttributeError for a result that was read from a file."""
        if self._net is None:
            raise AttributeError("a result from a file has no net; train.load_model reads it")
        return self._net

    def with_model(self, net: nn.Module) -> Result:
        """The same result with the net."""
        self._net = net
        return self

    @property
    def run(self) -> RunInfo:
        """What identifies the run."""
        return RunInfo(config=self.config, data=self.data, tag=self.tag, epoch=len(self.history))

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the training and the test images came from."""
        return tuple(part.source for part in self.data.values())

    @property
    def test(self) -> Metrics:
        """The last epoch's measures on the test set: the result that counts."""
        last = self.history[-1].test
        if last is None:
            raise ValueError("history: must end with an epoch that was measured on the test set")
        return last

    @property
    def best(self) -> Metrics:
        """The measures of the epoch with the best test accuracy, the first of equals: never the result itself."""
        return max((entry.test for entry in self.history if entry.test is not None), key=lambda m: m.accuracy)

    @property
    def seconds(self) -> float:
        """Seconds in all epochs, training and measuring."""
        return sum(entry.seconds + entry.evaluation_seconds for entry in self.history)
