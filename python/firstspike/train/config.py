"""The settings of one training run: a flat TOML file, checked field by field."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from .. import data as data_sets
from .._base import checks, fields
from .._base.files import read_bytes
from ..surrogate import KINDS

_TOML_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images, drawn anew for every image in every epoch.

    Attributes:
        shift: largest shift in pixels, up, down, left and right, filled with zeros.
        flip: mirror left and right with probability 1/2.
        erase: probability of setting a random rectangle to zero.
        erase_area: largest share of the image that such a rectangle covers; it is drawn from 2 % up to this.

    Examples:
        >>> train.Augmentation(shift=2, flip=True).active
        True
    """

    shift: int = 0
    flip: bool = False
    erase: float = 0.0
    erase_area: float = 0.2

    def __post_init__(self) -> None:
        fields.check_types(self, "augmentation.")
        fields.within("augmentation.shift", self.shift, 0, 100)
        fields.within("augmentation.erase", self.erase, 0, 1)
        fields.within("augmentation.erase_area", self.erase_area, 0.02, 1)

    @property
    def active(self) -> bool:
        """Whether any change is asked for."""
        return self.shift > 0 or self.flip or self.erase > 0


@dataclass(frozen=True)
class Config:
    """One training run. Same config, same code, same machine: same bits.

    The fields from `encoder` to `dropout` go to `models.build`, which documents and checks them; None takes its
    default.

    Attributes:
        data: data set, a name that `data.load` knows; "" where the data are given in another way (`fit`).
        spec: the net, such as "784-400-400-10" or "32C3-AP2-64C3-AP2-256-10"; "" where the net is given (`fit`).
        model: "ttfs", or "relu" for the same net with ReLU neurons (`models.relu_counterpart`).
        steps: time steps T, 1..254.
        surrogate: of every neuron, "triangle", "rectangle", "atan" or "sigmoid".
        surrogate_scale: width of a triangle or rectangle, alpha of atan or sigmoid, > 0; by default the surrogate's own.
        output_surrogate_scale: the same for an output layer that fires; by default `surrogate_scale`.
        standardize: subtract the training images' mean and divide by their deviation, per channel (direct coding only;
            else pixels are in [0, 1]).
        epochs: passes over the training images, at least 1.
        batch: images per step, at least 1; a DataLoader has its own.
        optimizer: "adamw", "adam", "sgd" (momentum 0.9) or "muon" (`Muon`, best with normalization "channel").
        lr: peak learning rate, at least 0; for "muon" the size of a step relative to a weight's norm, such as 0.05.
        schedule: "cosine" (to zero), "linear" (to zero) or "constant", after the warmup.
        warmup: epochs of linear warmup, fractions allowed.
        weight_decay: on weights, not on gamma and bias, at least 0.
        average_epochs: number of epochs at the end of the run over whose steps the weights are averaged; in these epochs the net
            with the mean so far is measured, and the run ends with the mean; 0: no averaging. Buffers, such as batch
            normalisation's running statistics, are not averaged: `fit` warns of those.
        label_smoothing: share of the target spread over all classes, 0 to 0.999.
        augmentation: see `Augmentation`.
        unerased_epochs: number of epochs at the end of the run without `augmentation.erase`, so that a run ends with images like
            those it is tested on.
        seed: of weights, order of images, and augmentation.
        threads: torch's threads; 0 leaves torch's number.
        validation: training images held out (a fraction, or a number of images; 0: none). With some, each epoch is
            measured on them and the test set only once, at the end; without, each epoch is measured on the test set.
        limit: number of training images to use, drawn per class (0: all), for quick trials.
        clip: largest norm of the gradient of all parameters together; a longer one is scaled down to it (0: never).
        image_size: pixels per side to which a folder's images are scaled (0: as they are); the `size` of `data.load_images`.
        device: "cpu", "cuda" or "cuda:1" and so on.

    Examples:
        >>> config = train.Config(data="digits", spec="64-32-10", epochs=3)
        >>> config.replace(lr=2e-3).differences(config)
        ['lr: 0.002, not 0.001']
        >>> train.Config(spec="64-10", steps=300)
        Traceback (most recent call last):
            ...
        ValueError: steps must be in 1..254, got 300
    """

    data: str = ""
    spec: str = ""
    model: str = "ttfs"
    steps: int = 8
    encoder: str = "direct"
    readout: str = "membrane"
    gamma: float | None = None
    scale: float | None = None
    population: int | None = None
    init: str = "ettfs"
    normalization: bool | str = True
    affine: str | None = "channel"
    bias: bool | None = None
    pooling: str | None = None
    threshold: float = 1.0
    learn_threshold: bool = False
    decay: float = 1.0
    surrogate: str = "triangle"
    surrogate_scale: float | None = None
    hidden_gain: float | None = None
    output_gain: float | None = None
    output_surrogate_scale: float | None = None
    dropout: float = 0.0
    standardize: bool = False
    epochs: int = 10
    batch: int = 128
    optimizer: str = "adamw"
    lr: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.0
    weight_decay: float = 0.0
    average_epochs: int = 0
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    unerased_epochs: int = 0
    seed: int = 0
    threads: int = 0
    validation: float | int = 0
    limit: int = 0
    clip: float = 0.0
    image_size: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        fields.check_types(self)
        if self.data:
            fields.choice("data", self.data, data_sets.NAMES)
        fields.within("the number of characters of spec", len(self.spec), 0, 10_000)
        fields.choice("model", self.model, ("ttfs", "relu"))
        fields.within("steps", self.steps, 1, 254)
        fields.choice("surrogate", self.surrogate, KINDS)
        fields.choice("optimizer", self.optimizer, ("adamw", "adam", "sgd", "muon"))
        fields.choice("normalization", self.normalization, (True, False, "channel"))
        fields.choice("schedule", self.schedule, ("cosine", "linear", "constant"))
        fields.choice("affine", self.affine, ("channel", "layer", None))
        if self.population is not None:
            fields.within("population", self.population, 1, 65_536)
        fields.within("threads", self.threads, 0, 4096)
        for name in ("epochs", "batch"):
            fields.within(name, getattr(self, name), 1)
        for name in ("warmup", "weight_decay", "validation", "limit", "threads", "seed", "clip", "average_epochs"):
            fields.within(name, getattr(self, name), 0)
        fields.within("unerased_epochs", self.unerased_epochs, 0, self.epochs)
        if self.unerased_epochs and not self.augmentation.erase:
            raise ValueError(f"unerased_epochs must be 0 where augmentation.erase is 0, got {self.unerased_epochs}")
        fields.within("lr", self.lr, 0)
        fields.within("image_size", self.image_size, 0, 4096)
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", self.device):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}")
        fields.within("dropout", self.dropout, 0, 0.99)
        fields.within("label_smoothing", self.label_smoothing, 0, 0.999)
        if isinstance(self.validation, float) and self.validation >= 1:
            raise ValueError(
                f"validation must be a fraction below 1 or a whole number of images, got {self.validation}"
            )
        if self.optimizer == "muon" and self.weight_decay:
            raise ValueError(
                f"weight_decay must be 0 with optimizer 'muon', which keeps norms, got {self.weight_decay}"
            )
        if self.warmup > self.epochs:
            raise ValueError(f"warmup must be at most epochs = {self.epochs}, got {self.warmup}")
        if self.average_epochs > self.epochs:
            raise ValueError(f"average_epochs must be at most epochs = {self.epochs}, got {self.average_epochs}")
        if self.standardize and self.encoder != "direct" and self.model == "ttfs":
            raise ValueError(
                f"standardize needs encoder 'direct' (a latency code needs pixels in 0..1), got {self.encoder!r}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Make a config from plain values; TOML has no null, so the text "none" stands for None.

        Raises:
            ValueError: for an unknown, missing or impossible field, naming it.
            TypeError: for a value of another type.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        checks.instance("values", values, Mapping, "a mapping of settings")
        fields.refuse_unknown(values, known)
        if "spec" not in values:
            raise ValueError("spec must be given")
        plain: dict[str, Any] = {name: None if value == "none" else value for name, value in values.items()}
        if "augmentation" in plain and plain["augmentation"] is None:
            plain["augmentation"] = Augmentation()
        nested = plain.get("augmentation")
        if isinstance(nested, Mapping):
            fields.refuse_unknown(nested, {f.name for f in dataclasses.fields(Augmentation)}, "augmentation.")
            plain["augmentation"] = Augmentation(**nested)
        return cls(**plain)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> Config:
        """Read a config from a TOML file; `changes` replace its values (a dot reaches into augmentation).

        Raises:
            ValueError: naming the file and what is wrong in it.
        """
        checks.optional("changes", changes, Mapping, "a mapping of settings")
        values = _read_toml(checks.path("path", path))
        for name, value in (changes or {}).items():
            outer, dot, inner = name.partition(".")
            if not dot:
                values[outer] = value
                continue
            table = values.setdefault(outer, {})
            if not isinstance(table, dict):
                raise ValueError(f"{path}: {name} = {value!r} contradicts {outer} = {table!r}")
            table[inner] = value
        try:
            return cls.from_dict(values)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON can hold them; `from_dict` takes them back."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The config as a TOML file, every field written out; `from_toml` takes it back."""
        plain = self.to_dict()
        tables = {name: plain.pop(name) for name in list(plain) if isinstance(plain[name], dict)}
        named = {name: "none" if value is None else value for name, value in plain.items()}
        return tomli_w.dumps({**named, **tables})

    def replace(self, **changes: Any) -> Config:
        """A copy with some fields changed, checked anew. Raises as `from_dict` does."""
        fields.refuse_unknown(changes, [f.name for f in dataclasses.fields(self)])
        return dataclasses.replace(self, **changes)

    def differences(self, other: Config) -> list[str]:
        """The fields in which two configs differ, each as "name: mine, not other's"."""
        checks.instance("other", other, Config, "a train.Config")
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]!r}, not {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]


def _read_toml(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a TOML file with the settings of a run")
    try:
        text = read_bytes(path, limit=_TOML_LIMIT).decode()
        return tomllib.loads(text)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: its values are nested too deeply") from error
