"""Surrogate derivatives of the firing step H(V - threshold) (Neftci, Mostafa and Zenke 2019, arXiv 1901.09948;
docs/model.md, section "Surrogate and support").

`triangle` and `rectangle` vanish outside a finite half_width: the backward pass is sparse. `atan` and `sigmoid` are dense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._base import checks

SMALLEST, LARGEST = 1e-18, 1e18  # width or alpha: its square and the square's inverse are finite in float32
_HALF_WIDTH = {"triangle": 1.0, "rectangle": 0.5, "atan": math.inf, "sigmoid": math.inf}  # at scale 1
KINDS = tuple(_HALF_WIDTH)  # in the order of SurrogateKind in cpp/core/surrogate.h


@dataclass(frozen=True)
class Surrogate:
    """A surrogate derivative sigma'(u) of the overshoot u = V - threshold.

    Parameters
    ----------
    kind : "triangle", "rectangle", "atan" or "sigmoid".
    scale : the width w of the first two, the alpha of the last two.

    Examples
    --------
    >>> Surrogate("triangle", 0.5).derivative(torch.tensor([0.0, 0.25, 0.5]))
    tensor([2., 1., 0.])
    """

    kind: str
    scale: float

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        object.__setattr__(self, "scale", checks.real("width or alpha of a surrogate", self.scale, SMALLEST, LARGEST))

    @property
    def sparse(self) -> bool:
        """Whether the derivative vanishes outside a finite half_width."""
        return math.isfinite(self.half_width)

    @property
    def half_width(self) -> float:
        """Half-width of the support: sigma'(u) = 0 where |u| >= half_width; inf for `atan` and `sigmoid`."""
        return _HALF_WIDTH[self.kind] * self.scale

    def derivative(self, u: Tensor) -> Tensor:
        """sigma'(u), elementwise, in the type of `u`, a float tensor."""
        if not isinstance(u, Tensor) or not u.is_floating_point() or u.layout != torch.strided:
            raise TypeError(f"u must be a dense float tensor, got {checks.shown(u)}")
        if self.kind == "triangle":
            return torch.clamp(1 - u.abs() / self.scale, min=0) / self.scale
        if self.kind == "rectangle":
            return (u.abs() < self.half_width).to(u.dtype) / self.scale
        if self.kind == "atan":
            return self.scale / 2 / (1 + (math.pi / 2 * self.scale * u) ** 2)
        s = torch.sigmoid(self.scale * u)
        return self.scale * s * (1 - s)


def triangle(width: float = 0.9) -> Surrogate:
    """max(0, 1 - |u| / width) / width (Bellec et al. 2018, with the area 1). Sparse.

    A `half_width` below the threshold leaves out the neurons at rest (docs/performance.md).

    Parameters
    ----------
    width : half of the base, > 0.

    Examples
    --------
    >>> triangle(0.5).half_width
    0.5
    """
    return Surrogate("triangle", width)


def rectangle(width: float = 1.0) -> Surrogate:
    """1 / width where |u| < width / 2, else 0 (STBP, Wu et al. 2018, Eq. 24). Sparse.

    Parameters
    ----------
    width : of the base, > 0.

    Examples
    --------
    >>> rectangle(1.0).derivative(torch.tensor([0.4, 0.6]))
    tensor([1., 0.])
    """
    return Surrogate("rectangle", width)


def atan(alpha: float = 2.0) -> Surrogate:
    """alpha / 2 / (1 + (pi alpha u / 2)^2) (SpikingJelly's ATan). Dense.

    Parameters
    ----------
    alpha : steepness, > 0.

    Examples
    --------
    >>> atan(2.0).sparse
    False
    """
    return Surrogate("atan", alpha)


def sigmoid(alpha: float = 4.0) -> Surrogate:
    """alpha s(alpha u) (1 - s(alpha u)), s the logistic function (SpikingJelly's Sigmoid). Dense.

    Parameters
    ----------
    alpha : steepness, > 0.

    Examples
    --------
    >>> sigmoid(4.0).derivative(torch.tensor(0.0))
    tensor(1.)
    """
    return Surrogate("sigmoid", alpha)
