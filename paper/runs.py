"""One run: everything that decides its result, and the key that names it."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

#: What a net with ReLU does not have; `Run.normal` sets these to their defaults there.
_SPIKING = (
    "steps",
    "encoder",
    "readout",
    "gamma",
    "population",
    "init",
    "normalization",
    "affine",
    "threshold",
    "decay",
    "surrogate",
    "surrogate_scale",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run. The fields are those that TOML files set; equal runs have equal keys.

    network: "ttfs", or "relu" for the same net with ReLU. affine: "channel", "layer" or "none". validation: images of train that
    are held out. train_limit and test_limit: how many images are used, 0 for all. batch: images a step. gamma, population: of
    the readout. surrogate_scale: width or alpha.
    """

    dataset: str
    net: str
    network: str = "ttfs"
    steps: int = 8
    encoder: str = "direct"
    readout: str = "membrane"
    gamma: float = 1.2
    population: int = 1
    init: str = "ettfs"
    normalization: bool = True
    affine: str = "channel"
    pooling: str = "avg"
    threshold: float = 1.0
    decay: float = 1.0
    surrogate: str = "triangle"
    surrogate_scale: float = 1.0
    epochs: int = 1
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: str = "none"
    validation: int = 0
    train_limit: int = 0
    test_limit: int = 0
    seed: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The run that `values` describe, in normal form.

        Raises ValueError for an unknown or missing field, TypeError for a value of the wrong type; integers pass for floats.
        """
        known = {field.name: field for field in fields(cls)}
        for name in values:
            if name not in known:
                raise ValueError(f"a run has no field {name!r}; it has {', '.join(known)}")
        for name in ("dataset", "net"):
            if name not in values:
                raise ValueError(f"a run needs the field {name!r}, got only {', '.join(values) or 'nothing'}")
        typed = {name: _typed(name, value, known[name].type) for name, value in values.items()}
        return cls(**typed).normal()

    def normal(self) -> Self:
        """The same run with the fields that its network does not have at their defaults."""
        if self.network not in ("ttfs", "relu"):
            raise ValueError(f"network must be 'ttfs' or 'relu', got {self.network!r}")
        if self.network == "relu":
            defaults = {field.name: field.default for field in fields(self)}
            return replace(self, **{name: defaults[name] for name in _SPIKING})
        return self

    def values(self) -> dict[str, Any]:
        """All fields, as they go to records."""
        return asdict(self)

    @property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all fields that differ from their defaults.

        So a field added later leaves the names of older records alone; `records.Store` compares all fields besides.
        """
        defaults = {field.name: field.default for field in fields(self)}
        told = {name: value for name, value in self.values().items() if value != defaults[name]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Readable and unique: data set, kind of net, seed, key."""
        kind = "cnn" if "C" in self.net else "mlp"
        return f"{self.dataset}-{kind}-{self.network}-s{self.seed}-{self.key}"


def _typed(name: str, value: Any, kind: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"the field {name!r} must be {kind.__name__}, got {value!r}")
    return value
