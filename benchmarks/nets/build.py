"""Nets by library and setting; a peer's module is imported only where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import torch
from torch import nn

from ..workloads import Workload

_MADE_BY = {
    "firstspike": ("ours", "Ours"),
    "dense": ("dense", "Dense"),
    "spikingjelly": ("spikingjelly_net", "SpikingJellyNet"),
    "snntorch": ("snntorch_net", "SnnTorch"),
    "norse": ("norse_net", "Norse"),
}
#: SpikingJelly with neurons that fire once (`spikingjelly_net.FireOnce`).
FIRES_ONCE = "spikingjelly, fires once"


@dataclass(frozen=True)
class Setting:
    """A way to run a library: the options of its net, and whether under torch.compile.

    freezing: under torch.compile for inference, the weights held as constants and packed beforehand.
    """

    library: str
    name: str
    compiled: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    freezing: bool = False

    def frozen(self) -> Setting:
        """This setting, compiled, with `freezing`."""
        return replace(self, name=f"{self.name}, frozen", compiled=True, freezing=True)


def settings(library: str, *, maps: bool, steps: int) -> list[Setting]:
    """The settings among which the best of "dense", "spikingjelly" or `FIRES_ONCE` is looked for.

    maps: whether the net has convolutions.
    """
    last: list[tuple[str, dict[str, Any]]] = [("", {})] + [(", channels last", {"channels_last": True})] * maps
    if library == "dense":
        found = []
        for kind in ("loop", "scan"):
            found += [Setting("dense", f"{kind}{more}", options={"neurons": kind, **extra}) for more, extra in last]
        for kind in ("loop", "scan") if steps <= MOST_UNROLLED else ("scan",):
            found += [Setting("dense", f"{kind}{more}, compiled", True, {"neurons": kind, **extra}) for more, extra in last]
        return found
    once = {"fires_once": True} if library == FIRES_ONCE else {}
    found = [Setting("spikingjelly", f"multi-step{more}", options={**once, **extra}) for more, extra in last]
    if library == "spikingjelly":
        found.append(Setting(library, "multi-step, reset to zero", options={"soft": False}))
        found.append(Setting(library, "single-step", options={"step_mode": "s"}))
    return found + [Setting("spikingjelly", f"multi-step{more}, compiled", True, {**once, **extra}) for more, extra in last]


#: Steps up to which a loop over time is compiled: it is unrolled, and the compiler takes a minute or more for so many.
MOST_UNROLLED = 64


def build(setting: Setting, workload: Workload, steps: int) -> nn.Module:
    """The net of a setting. KeyError for an unknown library; ImportError where the library is absent."""
    module, name = _MADE_BY[setting.library]
    net: nn.Module = getattr(import_module(f"{__package__}.{module}"), name)(workload, steps, **setting.options)
    if not setting.compiled:
        return net
    options: dict[str, Any] | None = {"freezing": True} if setting.freezing else None
    return torch.compile(net, dynamic=False, options=options)  # type: ignore[return-value]
