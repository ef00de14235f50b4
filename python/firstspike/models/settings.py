"""The settings of a net from a string: one record per timing, with the fields that such a net has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .._base import checks
from .._base.records import FieldError, Record
from ..surrogate import Surrogate

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=0.99)]
_Surrogate = Annotated[Surrogate, BeforeValidator(lambda value: Surrogate(**value) if isinstance(value, dict) else value)]


class StepSettings(Record):
    """Settings of a net whose layers share the steps; `models.build` describes them, and its parts check names and ranges."""

    timing: Literal["step"] = "step"
    steps: Annotated[int, Field(ge=1, le=checks.MAX_STEPS)]
    encoder: str = "direct"
    readout: str = "membrane"
    gamma: float = 1.2
    scale: Positive = 10.0
    population: Annotated[int, Field(ge=1)] | None = None
    init: str = "ettfs"
    normalization: bool | Literal["channel"] = True
    affine: Literal["channel", "layer"] | None = "channel"
    bias: bool | None = None
    pooling: str | None = None
    dropout: Share = 0.0
    threshold: float = 1.0
    learn_threshold: bool = False
    decay: float = 1.0
    synaptic_decay: float = 0.0
    surrogate: _Surrogate | None = None
    hidden_gain: Positive | None = None
    output_gain: Positive | None = None
    output_surrogate: _Surrogate | None = None


class WindowedSettings(Record):
    """Settings of a net whose layers fire in separate windows; `models.build` describes them."""

    timing: Literal["windowed"] = "windowed"
    steps: Annotated[int, Field(ge=1, le=checks.MAX_WINDOW)]
    input_steps: Annotated[int, Field(ge=1, le=checks.MAX_WINDOW)] = checks.INPUT_STEPS
    normalization: bool = True
    pooling: str | None = None
    dropout: Share = 0.0


TIMINGS: dict[str, type[StepSettings | WindowedSettings]] = {"step": StepSettings, "windowed": WindowedSettings}


def settings_of(timing: str, values: dict[str, Any]) -> StepSettings | WindowedSettings:
    """Return the settings of a timing, given those that differ from their defaults; ValueError for another timing's."""
    checks.one_of("timing", timing, (*TIMINGS,))
    kind = TIMINGS[timing]
    for name, value in values.items():
        if name not in kind.model_fields:
            raise FieldError(f"{name}: must be left out with timing {timing!r}, got {checks.shown(value)}")
    return kind(**values)
