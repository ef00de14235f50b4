"""The optimizer Muon, for weights of any number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .._base import checks

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan: steep at 0; singular values end between 0.7 and 1.2
_SMALLEST = 1e-20  # no division by the norm of a gradient of zeros


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made nearly orthogonal: all directions of a weight are learnt at the same rate.

    A weight [O, ...] is taken as a matrix [O, N]. The direction of its update is the Nesterov momentum with all singular values
    brought near 1 by a Newton-Schulz iteration. The update's norm is lr times the weight's, and the weight is scaled back to the
    norm that it had. Parameters of one dimension or none (gamma, bias, thresholds) are updated by Adam with lr · adam_ratio.

    Use it with weight normalisation: in a layer without it, gamma or the neurons after have to learn the scale. There is no
    weight decay. Gains in convolutional nets are in paper/LABBOOK.md, "The optimizer and the normalisation". `torch.optim.Muon`
    has the same directions, for matrices alone, works in bfloat16, and its steps do not depend on the weight.

    Sources: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), for directions and polynomial;
    Y. You et al., "Large batch optimization for deep learning", arXiv 1904.00962, for steps in parts of the weight's norm;
    I. Loshchilov et al., "nGPT", arXiv 2410.01131, for weights that keep their norm.

    Parameters
    ----------
    params : parameters, or dicts of a parameter group, as in torch.optim.
    lr : learning rate, at least 0: the share of its norm by which a weight moves per step. 0.02 to 0.05 are good peaks.
    momentum : of the weights, in [0, 1).
    adam_ratio : Adam's learning rate in parts of lr, at least 0.
    betas, eps : Adam's.
    iterations : of Newton-Schulz, at least 1.

    Examples
    --------
    >>> net = models.build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=8)
    >>> optimizer = train.Muon(net.parameters(), lr=0.05)
    >>> torch.nn.functional.cross_entropy(net(torch.rand(10, 1, 8, 8)), torch.arange(10)).backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.05,
        *,
        momentum: float = 0.9,
        adam_ratio: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        iterations: int = 5,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be a pair of numbers, got {checks.shown(betas)}")
        defaults = {
            "lr": checks.real("lr", lr, 0.0),
            "momentum": _below_one("momentum", momentum),
            "adam_ratio": checks.real("adam_ratio", adam_ratio, 0.0),
            "betas": (_below_one("betas[0]", betas[0]), _below_one("betas[1]", betas[1])),
            "eps": checks.positive("eps", eps),
            "iterations": checks.integer("iterations", iterations, 1),
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient; returns what `closure` returns, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not parameter.numel():
                    continue
                if parameter.grad.is_sparse:
                    raise ValueError("the gradient must be dense, got a sparse one")
                state, rate = self.state[parameter], group["lr"]
                if parameter.ndim < 2:
                    parameter.sub_(_adam(parameter.grad, state, group), alpha=rate * group["adam_ratio"])
                else:
                    _turn(parameter, _orthogonal(parameter, state, group), rate)
        return loss


def _adam(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state |= {"step": 0, "exp_avg": torch.zeros_like(gradient), "exp_avg_sq": torch.zeros_like(gradient)}
    state["step"] += 1
    mean, square, step, (first, second) = state["exp_avg"], state["exp_avg_sq"], state["step"], group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.lerp_(gradient.square(), 1 - second)
    deviation = (square / (1 - second**step)).sqrt_()
    update: Tensor = mean / (1 - first**step) / deviation.add_(group["eps"])
    return update


def _orthogonal(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    assert parameter.grad is not None
    if not parameter.any():
        raise ValueError(f"a weight must not be all zeros, its norm is kept; got one of shape {tuple(parameter.shape)}")
    if not state:
        state["momentum_buffer"] = torch.zeros_like(parameter.grad)
    momentum: float = group["momentum"]
    state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
    ahead: Tensor = parameter.grad.lerp(state["momentum_buffer"], momentum).flatten(1)
    return orthogonalize(ahead, group["iterations"]).reshape(parameter.shape)


def _turn(weight: Tensor, direction: Tensor, rate: float) -> None:
    """Move a weight in a direction by a share of its norm, which it has again afterwards."""
    norm = weight.norm()
    weight.sub_(direction * (rate * norm / direction.norm().clamp_min(_SMALLEST)))
    weight.mul_(norm / weight.norm())


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The matrix [O, N] with its singular values brought near 1, in its own precision; zeros stay zeros.

    Newton-Schulz: X ← P X with P = a + b X Xᵀ + c (X Xᵀ)². All P are polynomials of the first Gram matrix, so X is multiplied
    once, by their product.
    """
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the smaller Gram matrix
    x = x / x.norm().clamp_min(_SMALLEST)
    a, b, c = _QUINTIC
    gram, product = x @ x.T, None
    for iteration in range(iterations):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if iteration + 1 < iterations:
            gram = polynomial @ (polynomial @ gram)
    assert product is not None
    x = torch.mm(product, x)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _below_one(name: str, value: float) -> float:
    value = checks.real(name, value, 0.0)
    if value >= 1:
        raise ValueError(f"{name} must be below 1, got {value}")
    return value
