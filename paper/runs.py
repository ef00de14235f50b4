"""One run: a training configuration in normal form, and the key that names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from firstspike.train import Config

#: A net with ReLU or of windows does not have these; `Run.of` leaves them at their defaults there.
_SPIKING = {"steps", *Config.net_fields()} - {"pooling", "dropout"}
#: A net of windows has these of them.
_WINDOWED = {"steps", "input_steps", "normalization"}

#: Of a net of windows that does not name them: the package's default when the first records were made.
_INPUT_STEPS = 255

_DEFAULTS = {**Config().to_dict(), "images": "", "input_steps": _INPUT_STEPS}


def changed_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The data set, the net, and all other fields that differ from their defaults.

    Names made of them do not change where a later version has more fields.
    """
    changed = {name: value for name, value in values.items() if name in ("data", "spec") or value != _DEFAULTS[name]}
    for name in _unused(values):
        changed.pop(name, None)
    if changed.get("augmentation", {}).get("border") == "zeros":  # a field that is younger than the first records
        changed["augmentation"] = {name: value for name, value in changed["augmentation"].items() if name != "border"}
    return changed


def _unused(values: Mapping[str, Any]) -> set[str]:
    """The fields that a net of this kind does not have."""
    if values.get("model") == "relu":
        return _SPIKING
    return _SPIKING - _WINDOWED if values.get("timing") == "windowed" else {"input_steps"}


@dataclass(frozen=True)
class Run:
    """One training run: everything that decides its result. Equal runs have equal keys.

    The settings of `config` are attributes too. images: the name of a folder of images (`firstspike.data.load_images`) that
    holds a copy of the data set and is used in place of it; "" for the data set itself.
    """

    config: Config
    images: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The run that `values` describe (`images` and the fields of `firstspike.train.Config`), in normal form.

        In normal form a net has the defaults in all fields that only nets of another kind use. A net of windows without
        `input_steps` has 255. Raises ValueError and TypeError that name the field.
        """
        images = values.get("images", "")
        if not isinstance(images, str):
            raise TypeError(f"images must be the name of a folder, got {images!r}")
        unused = {"images", *_unused(values)}
        values = {"input_steps": _INPUT_STEPS, **values}
        return cls(Config.from_dict({name: value for name, value in values.items() if name not in unused}), images)

    def __getattr__(self, name: str) -> Any:
        if name == "config" or name.startswith("__"):  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.config, name)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as `of` takes them."""
        return {**self.config.to_dict(), "images": self.images}

    def changed(self, **changes: Any) -> Self:
        """The same run with other values of some fields."""
        return self.of({**self.to_dict(), **changes})

    @property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of `changed_fields`; `records.Store` compares all fields besides."""
        return hashlib.sha256(json.dumps(changed_fields(self.to_dict()), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def cores(self) -> int:
        """How many threads it is given; one by default."""
        return max(int(self.threads), 1)

    @property
    def source(self) -> str:
        """Where its images come from: the folder of images, else the data set."""
        return self.images or str(self.data)

    @property
    def name(self) -> str:
        """Readable and unique: data set, kind of net, seed, key."""
        kind = "cnn" if "C" in self.spec else "mlp"
        return f"{self.source}-{kind}-{self.model}-s{self.seed}-{self.key}"
