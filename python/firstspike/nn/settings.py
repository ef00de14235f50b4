"""Modules that know the arguments they were made with."""

from __future__ import annotations

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
