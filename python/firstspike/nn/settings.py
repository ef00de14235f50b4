"""Modules that know the arguments they were made with."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn


class Settings(nn.Module):
    """A module whose settings are attributes with the names of its keyword arguments."""

    _settings: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments with which the module can be built again, as JSON can hold them."""
        return {name: getattr(self, name) for name in self._settings}

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings().items())


class NamedOptions:
    """A base of classes whose options, which base classes list, are all named in their signatures."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Name all options of the base classes in the signature of a class."""
        super().__init_subclass__(**arguments)
        shown = dict(inspect.signature(cls.__init__).parameters)
        options = any(p.kind is p.VAR_KEYWORD for p in shown.values())
        for base in cls.__mro__[1:] if options else ():
            if "__init__" in vars(base) and issubclass(base, NamedOptions):
                inherited = inspect.signature(base.__init__).parameters
                shown |= {n: p for n, p in inherited.items() if p.kind is p.KEYWORD_ONLY and n not in shown}
        named = [p for n, p in shown.items() if n != "self" and not (options and p.kind is p.VAR_KEYWORD)]
        cls.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
