"""One run: a training configuration in normal form, and the key that names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from firstspike.train.config import Config

#: What a net with ReLU does not have; `Run.of` sets these to their defaults there.
_SPIKING = (
    "steps",
    "encoder",
    "readout",
    "gamma",
    "scale",
    "population",
    "init",
    "normalization",
    "affine",
    "bias",
    "threshold",
    "learn_threshold",
    "decay",
    "surrogate",
    "surrogate_scale",
    "hidden_gain",
    "output_gain",
    "output_surrogate_scale",
)


@dataclass(frozen=True)
class Run(Config):
    """One training run: everything that decides its result. Equal runs have equal keys.

    images: the name of a folder of images (`firstspike.data.load_images`) that holds a copy of the data set and is used in
    place of it; "" for the data set itself.
    """

    images: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The run that `values` describe (`images` and the fields of `firstspike.train.Config`), in normal form.

        In normal form a net with ReLU has the defaults in all fields that only spiking nets use. Raises ValueError and
        TypeError that name the field.
        """
        images = values.get("images", "")
        if not isinstance(images, str):
            raise TypeError(f"images must be the name of a folder, got {images!r}")
        config = Config.from_dict({name: value for name, value in values.items() if name != "images"})
        run = cls(**{field.name: getattr(config, field.name) for field in fields(Config)}, images=images)
        if run.model == "relu":
            defaults: dict[str, Any] = {field.name: field.default for field in fields(Config)}
            run = replace(run, **{name: defaults[name] for name in _SPIKING})
        return run

    @property
    def config(self) -> Config:
        """What `firstspike.train` needs to know."""
        return Config(**{field.name: getattr(self, field.name) for field in fields(Config)})

    @property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all fields that differ from their defaults.

        So a field added later leaves the names of older records alone; `records.Store` compares all fields besides.
        """
        plain = type(self)(data=self.data, spec=self.spec).to_dict()
        told = {name: value for name, value in self.to_dict().items() if value != plain[name]}
        told |= {"data": self.data, "spec": self.spec}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def cores(self) -> int:
        """How many threads it is given; without a number of its own, one."""
        return max(self.threads, 1)

    @property
    def source(self) -> str:
        """Where its images come from: the folder of images, else the data set."""
        return self.images or self.data

    @property
    def name(self) -> str:
        """Readable and unique: data set, kind of net, seed, key."""
        kind = "cnn" if "C" in self.spec else "mlp"
        return f"{self.source}-{kind}-{self.model}-s{self.seed}-{self.key}"
