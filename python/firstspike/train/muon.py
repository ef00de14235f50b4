"""The optimizer Muon, for weights of any number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .. import _checks

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan: steep at 0; singular values end between 0.7 and 1.2
_SMALLEST = 1e-7  # no division by the norm of a gradient of zeros


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made nearly orthogonal: all directions of a weight are learnt at the same rate.

    A weight [O, ...] is taken as a matrix [O, N], a kernel of a convolution with N = C · KH · KW. The direction of its update
    is the Nesterov momentum with all singular values brought near 1 by steps of a Newton-Schulz iteration; its size is lr
    times the weight's own norm (1 for a weight of zeros). Parameters of one dimension or none (gamma, bias, thresholds) are
    updated by Adam with the rate lr · adam_ratio. Weight decay is decoupled, as in AdamW, for both.

    Weight normalisation leaves only the direction of a weight to be learnt, so a rate in parts of its norm means the same in
    every layer and at any time of a run, and weight decay has no effect there. What Muon gains in convolutional TTFS nets is in
    paper/NOTES.md, "The optimizer and the normalisation".

    `torch.optim.Muon` has the same directions, for matrices alone: it refuses the weights of convolutions, works in bfloat16, and
    its sizes do not depend on the weight.

    Sources: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), for directions and polynomial;
    Y. You et al., "Large batch optimization for deep learning", arXiv 1904.00962, for sizes in parts of the weight's norm;
    I. Loshchilov and F. Hutter, arXiv 1711.05101, for decoupled weight decay.

    Args:
        params: parameters, or dicts of a parameter group, as in torch.optim.
        lr: learning rate, at least 0: the share of its norm by which a weight moves per step. 0.05 is a good peak.
        momentum: of the weights, in [0, 1).
        adam_ratio: Adam's learning rate in parts of lr, at least 0.
        betas: Adam's, both in [0, 1).
        eps: Adam's, above 0.
        weight_decay: at least 0.
        iterations: of Newton-Schulz, at least 1.

    Raises:
        ValueError, TypeError: for what is out of these ranges; from `step` for a sparse gradient.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
        >>> optimizer = train.Muon(net.parameters(), lr=0.01)
        >>> nn.functional.cross_entropy(net(torch.rand(8, 1, 8, 8)), torch.arange(8)).backward()
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
        weight_decay: float = 0.0,
        iterations: int = 5,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be a pair of numbers, got {_checks.shown(betas)}")
        defaults = {
            "lr": _checks.real("lr", lr, 0.0),
            "momentum": _below_one("momentum", momentum),
            "adam_ratio": _checks.real("adam_ratio", adam_ratio, 0.0),
            "betas": (_below_one("betas[0]", betas[0]), _below_one("betas[1]", betas[1])),
            "eps": _checks.positive("eps", eps),
            "weight_decay": _checks.real("weight_decay", weight_decay, 0.0),
            "iterations": _checks.integer("iterations", iterations, 1),
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
                    rate *= group["adam_ratio"]
                    update = _adam(parameter.grad, state, group)
                else:
                    update = _orthogonal(parameter.grad, state, group, size=parameter.norm())
                parameter.mul_(1 - rate * group["weight_decay"]).sub_(update, alpha=rate)
        return loss


def _adam(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state |= {"step": 0, "exp_avg": torch.zeros_like(gradient), "exp_avg_sq": torch.zeros_like(gradient)}
    state["step"] += 1
    mean: Tensor = state["exp_avg"]
    square: Tensor = state["exp_avg_sq"]
    step: int = state["step"]
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.lerp_(gradient.square(), 1 - second)
    deviation = (square / (1 - second**step)).sqrt_()
    update: Tensor = mean / (1 - first**step) / deviation.add_(group["eps"])
    return update


def _orthogonal(gradient: Tensor, state: dict[str, Any], group: dict[str, Any], size: Tensor) -> Tensor:
    if not state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    momentum: float = group["momentum"]
    state["momentum_buffer"].lerp_(gradient, 1 - momentum)
    ahead: Tensor = gradient.lerp(state["momentum_buffer"], momentum).flatten(1)
    update: Tensor = orthogonalize(ahead, group["iterations"])
    update *= torch.where(size > 0, size, 1.0) / update.norm().clamp_min(_SMALLEST)
    return update.reshape(gradient.shape)


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The matrix [O, N] with its singular values brought near 1, in its own precision; zeros stay zeros.

    Newton-Schulz: X ← P X with P = a + b X Xᵀ + c (X Xᵀ)² moves each singular value s to a s + b s³ + c s⁵ and leaves the
    singular vectors as they are. All P are polynomials of the first Gram matrix, so X is multiplied once, by their product.
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
    value = _checks.real(name, value, 0.0)
    if value >= 1:
        raise ValueError(f"{name} must be below 1, got {value}")
    return value
