"""Modules that know the arguments they were made with."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from torch import nn

Timing = Literal["step", "windowed"] | None
_VALUES = ("clip", "generator", "init")  # options that only choose the first values of parameters


class Settings(nn.Module):
    """A module whose settings are attributes with the names of its keyword arguments.

    Keyword arguments that a class passes on to its bases are named in its signature, except those in `_fixed`.

    Attributes
    ----------
    timing : "step" for modules of nets that run step by step, "windowed" for those with windows, None for both.
    fires : whether the module is a layer of neurons that fire.
    """

    timing: Timing = None
    fires: bool = False
    _fixed: tuple[str, ...] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Name all options of the base classes in the signature of a class."""
        super().__init_subclass__(**arguments)
        shown = dict(inspect.signature(cls.__init__).parameters)
        options = any(p.kind is p.VAR_KEYWORD for p in shown.values())
        for base in cls.__mro__[1:] if options else ():
            if "__init__" in vars(base) and issubclass(base, Settings):
                inherited = inspect.signature(base.__init__).parameters
                shown |= {n: p for n, p in inherited.items() if p.kind is p.KEYWORD_ONLY and n not in shown}
        named = [p for n, p in shown.items() if n not in ("self", *cls._fixed) and not (options and p.kind is p.VAR_KEYWORD)]
        cls.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments with which the module can be built again, as JSON can hold them.

        The values of parameters are not among them.
        """
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name, None) for name in names if name not in _VALUES}

    def extra_repr(self) -> str:
        """Return the settings that are not the defaults, for print."""
        options = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={value!r}" for name, value in self.settings().items() if value != options[name].default)
