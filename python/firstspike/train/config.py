"""The settings of one training run: a flat TOML file, checked field by field."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from .. import data as data_sets
from .. import surrogate as surrogates
from .._base import checks
from .._base.records import FieldError, Record, read_toml
from ..models.settings import StepSettings, WindowedSettings, settings_of

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class Augmentation(Record):
    """Random changes of the training images, drawn anew in every epoch except alternating flips.

    Parameters
    ----------
    shift : largest shift in pixels.
    border : what a shift brings in: "zeros", or "reflect" for the image's own pixels, mirrored at its border (a shift below
        height and width).
    flip : mirror left and right with probability 1/2; "alternating" mirrors a random half of the images in the first epoch, the
        others in the second, and so on in turns (Jordan 2024, arXiv 2404.00498, section 3.6).
    erase : probability of setting a random rectangle to zero.
    erase_area : largest share of the image that it covers; drawn from 2 % up to this.

    Examples
    --------
    >>> train.Augmentation(shift=2, flip=True).active
    True
    """

    shift: Annotated[int, Field(ge=0, le=100)] = 0
    border: Literal["zeros", "reflect"] = "zeros"
    flip: Literal[False, True, "alternating"] = False
    erase: Share = 0.0
    erase_area: Annotated[float, Field(ge=0.02, le=1)] = 0.2

    @property
    def active(self) -> bool:
        """True if any change is asked for."""
        return self.shift > 0 or bool(self.flip) or self.erase > 0


class Config(Record):
    """One training run. Same config, same code, same machine: same bits.

    The fields from `input_steps` to `dropout` go to `models.build`, which checks them; None takes its default.

    Attributes
    ----------
    data : data set, a name that `data.load` knows; "" where the data are given in another way (`fit`).
    spec : the net, such as "784-400-400-10" or "32C3-AP2-64C3-AP2-256-10"; "" where the net is given (`fit`).
    model : "ttfs", or "relu" for the same net with ReLU neurons (`models.relu_counterpart`), with batch normalisation if
        timing is "windowed".
    steps : time steps T, 1..254; of each layer's window with timing "windowed", 1..255.
    timing : "step", or "windowed" for a net of windows, which takes of the settings that follow
        only `input_steps`, `normalization`, `pooling` and `dropout`.
    input_steps : steps of the input's window, 1..255, with timing "windowed".
    encoder, readout, gamma, scale, population, init, normalization, affine, bias, pooling : as in `models.build`.
    threshold, learn_threshold, decay, synaptic_decay, hidden_gain, output_gain, dropout : as in `models.build`.
    surrogate : of every neuron, "triangle", "rectangle", "atan" or "sigmoid".
    surrogate_scale : width of a triangle or rectangle, alpha of atan or sigmoid, > 0; by default the surrogate's own.
    output_surrogate_scale : the same for an output layer that fires; by default `surrogate_scale`.
    standardize : scale images by the training images, per channel: to mean 0 and deviation 1 with direct coding and ReLU; else
        their range to [0, 1], and values that exceed it count as its ends (`nn.Normalize.to_unit`).
    epochs, batch : passes over the training images, and images per step; a DataLoader has its own batches.
    optimizer : "adamw", "adam", "sgd" (momentum 0.9) or "muon" (`Muon`, best with normalization "channel").
    lr : peak learning rate, at least 0; for "muon" the size of a step relative to a weight's norm, such as 0.05.
    schedule : "cosine" (to zero), "linear" (to zero) or "constant", after the warmup.
    warmup : epochs of linear warmup, fractions allowed.
    weight_decay : on weights, not on gamma and bias, at least 0.
    average_epochs : number of epochs at the end of the run over whose steps the weights are averaged; in these epochs the net
        with the mean so far is measured, and the run ends with the mean; 0: none. Buffers have the values of the last step.
    label_smoothing : share of the target spread over all classes, 0 to 0.999.
    spike_penalty : weight, at least 0, of the cost of spikes in the loss (`SpikeCost`); 0: none. Larger weights give fewer
        spikes and less accuracy: 0.2 halves the additions of a net of windows at about no loss.
    spike_target : spikes per neuron, weighted by the additions that they cause (`SpikeCost.share`), above 0 and below 1, to
        which training steers the penalty's weight from `spike_penalty` on; None: the weight stays.
    spike_form : form of the penalty, "mean", "sqrt" or "ratio", as in `losses.spike_cost`.
    spike_start : part of the run, 0 to 1, after which the penalty begins.
    augmentation : see `Augmentation`.
    unerased_epochs : number of epochs at the end of the run without `augmentation.erase`.
    seed : of weights, order of images, and augmentation.
    threads : torch's threads; 0 leaves torch's number, and a resumed run keeps the number that it began with.
    validation : training images held out (a fraction, or a number of images; 0: none). With some, each epoch is
        measured on them and the test set only once, at the end; without, each epoch is measured on the test set.
    limit : number of training images to use, drawn per class (0: all), for quick trials.
    clip : largest norm of the gradient of all parameters together; a longer one is scaled down to it (0: never).
    image_size : pixels per side to which a folder's images are scaled (0: as they are); the `size` of `data.load_images`.
    device : of `torch.device`, such as "cpu", "cuda", "cuda:1", "mps" or "xpu" (docs/windowed.md, "On other devices"); without
        kernels there, step-by-step nets need the CPU.
    precision : of products in training, "float32", or "bfloat16" (`torch.autocast`) with timing "windowed" or model "relu". The
        weights that are trained and evaluation stay float32. For processors with AVX512-BF16 or AMX.

    Examples
    --------
    >>> config = train.Config(data="digits", spec="64-32-10", epochs=3)
    >>> config.replace(lr=2e-3).differences(config)
    ['lr: 0.002, not 0.001']
    """

    data: str = ""
    spec: Annotated[str, Field(max_length=10_000)] = ""
    model: Literal["ttfs", "relu"] = "ttfs"
    steps: Annotated[int, Field(ge=1, le=255)] = 8
    timing: Literal["step", "windowed"] = "step"
    input_steps: int = checks.INPUT_STEPS
    encoder: str = "direct"
    readout: str = "membrane"
    gamma: float | None = None
    scale: float | None = None
    population: Annotated[int, Field(ge=1, le=65_536)] | None = None
    init: str = "ettfs"
    normalization: bool | Literal["channel"] = True
    affine: Literal["channel", "layer"] | None = "channel"
    bias: bool | None = None
    pooling: str | None = None
    threshold: float = 1.0
    learn_threshold: bool = False
    decay: float = 1.0
    synaptic_decay: float = 0.0
    surrogate: str = "triangle"
    surrogate_scale: float | None = None
    hidden_gain: float | None = None
    output_gain: float | None = None
    output_surrogate_scale: float | None = None
    dropout: Annotated[float, Field(ge=0, le=0.99)] = 0.0
    standardize: bool = False
    epochs: Annotated[int, Field(ge=1)] = 10
    batch: Annotated[int, Field(ge=1)] = 128
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    lr: NotNegative = 1e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: NotNegative = 0.0
    weight_decay: NotNegative = 0.0
    average_epochs: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Annotated[float, Field(ge=0, le=0.999)] = 0.0
    spike_penalty: NotNegative = 0.0
    spike_target: Annotated[float, Field(gt=0, lt=1)] | None = None
    spike_form: Literal["mean", "sqrt", "ratio"] = "sqrt"
    spike_start: Share = 0.5
    augmentation: Augmentation = Field(default_factory=Augmentation)
    unerased_epochs: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    validation: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0
    limit: Annotated[int, Field(ge=0)] = 0
    clip: NotNegative = 0.0
    image_size: Annotated[int, Field(ge=0, le=4096)] = 0
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"

    @field_validator("device")
    @classmethod
    def _is_device(cls, value: str) -> str:
        try:
            torch.device(value)
        except RuntimeError:
            raise ValueError(f"must be a device of torch, such as 'cpu', 'cuda:1', 'mps' or 'xpu', got {value!r}") from None
        return value

    @field_validator("data", "surrogate")
    @classmethod
    def _is_known(cls, value: str, info: ValidationInfo) -> str:
        known = surrogates.KINDS if info.field_name == "surrogate" else ("", *data_sets.NAMES)
        if value not in known:
            raise ValueError(f"must be one of {', '.join(filter(None, known))}, got {value!r}")
        return value

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        for name in ("warmup", "average_epochs", "unerased_epochs"):
            if getattr(self, name) > self.epochs:
                raise ValueError(f"{name}: must be at most epochs = {self.epochs}, got {getattr(self, name)}")
        if self.unerased_epochs and not self.augmentation.erase:
            raise ValueError(f"unerased_epochs: must be 0 if augmentation.erase is 0, got {self.unerased_epochs}")
        if self.optimizer == "muon" and self.weight_decay:
            raise ValueError(f"weight_decay: must be 0 with optimizer 'muon', got {self.weight_decay}")
        if self.timing == "step" and self.model == "ttfs" and self.precision != "float32":
            raise ValueError(f"precision: must be 'float32' with timing 'step', got {self.precision!r}")
        self.net_settings()
        return self

    def net_settings(self) -> StepSettings | WindowedSettings:
        """The settings of the net, of its timing; ValueError for a field that such a net does not have."""
        fields = type(self).model_fields
        changed = {name: getattr(self, name) for name in self.net_fields() if getattr(self, name) != fields[name].default}
        if self.timing == "step":
            shape, scale = getattr(surrogates, changed.pop("surrogate", self.surrogate)), changed.pop("surrogate_scale", None)
            changed["surrogate"] = shape() if scale is None else shape(scale)
            if "output_surrogate_scale" in changed:
                changed["output_surrogate"] = shape(changed.pop("output_surrogate_scale"))
        return settings_of(self.timing, {"steps": self.steps, **changed})

    @classmethod
    def net_fields(cls) -> list[str]:
        """The names of the fields from `input_steps` to `dropout`, which go to `models.build`."""
        names = [*cls.model_fields]
        return names[names.index("input_steps") : names.index("dropout") + 1]

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> Self:
        """Read a config from a TOML file; `changes` replace its values (a dot reaches into augmentation)."""
        values = read_toml("config", path)
        for name, value in (changes or {}).items():
            outer, dot, inner = name.partition(".")
            table = values.setdefault(outer, {}) if dot else values
            if not isinstance(table, dict):
                raise FieldError(f"{path}: {name} = {value!r} contradicts {outer} = {table!r}")
            table[inner if dot else outer] = value
        return cls.from_dict(values, os.fspath(path))

    def differences(self, other: Config) -> list[str]:
        """The fields in which two configs differ, each as "name: mine, not other's"."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]!r}, not {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]
