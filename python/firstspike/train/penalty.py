"""A penalty on the spikes of a net, weighted by what they cost, and a target that steers its weight."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._base import checks
from .._base.modules import uncompiled
from ..inspect.monitor import Call, Watch
from ..inspect.operations import has_products, products
from ..losses import COST_FORMS, spike_cost
from ..nn import Synapses
from ..spikes import SpikeTimes
from .config import Config

STEER = 300.0  # how fast a target moves the weight: by 300 times the difference of shares over the steps with a penalty
MEMORY = 0.9  # of the running mean of the share, per step
PEAK = 2.5  # a ReLU layer's values count in 2.5 times their root mean square, about the clip of a layer of windows


class SpikeCost(Watch):
    """What the spikes of a net's layers cost in a forward pass within a `with` block, as a term of a loss.

    Each layer that receives spikes of another layer counts with its part of the additions of a net in which all neurons fire:
    fan-outs, pools and shortcuts are in it. The encoder's spikes do not count, as no training changes them. The values of a net
    with ReLU count in the same way, in units of 2.5 times their root mean square, up to 1.

    Parameters
    ----------
    net : Module
        A net of layers of `firstspike.nn`, or one with ReLU; not compiled.
    form : str
        As in `losses.spike_cost`.

    Examples
    --------
    >>> net = models.mlp("64-32-32-10", input_shape=(1, 8, 8), steps=8, timing="windowed")
    >>> with train.SpikeCost(net) as spent:
    ...     scores = net(torch.rand(4, 64))
    >>> loss = torch.nn.functional.cross_entropy(scores, torch.tensor([1, 2, 3, 4])) + 0.2 * spent.cost()
    >>> 0 < spent.share() < 1
    True
    """

    def __init__(self, net: nn.Module, form: str = "sqrt") -> None:
        checks.instance("net", net, nn.Module, "a torch.nn.Module")
        checks.one_of("form", form, COST_FORMS)
        if uncompiled(net) is not net:
            raise ValueError("net must not be compiled, as a compiled net hides its layers' spikes")
        super().__init__(net, {name: module for name, module in net.named_modules() if has_products(module)})
        self.form = form
        self._sizes: dict[tuple[str, torch.Size], float] = {}
        self._calls: list[tuple[Call, float]] = []
        self._begin = self._calls.clear

    def __enter__(self) -> SpikeCost:
        self._calls.clear()  # a net that is observed is not called as a whole
        super().__enter__()
        return self

    def _see(self, call: Call) -> None:
        if isinstance(call.received, SpikeTimes | Tensor) and call.received.requires_grad:
            self._calls.append((call, self._size(call)))

    def _size(self, call: Call) -> float:
        """The additions per sample if all inputs of the call send a spike."""
        shape = call.received.shape[2 if _is_train(call) else 1 :]
        if (call.name, shape) not in self._sizes:
            pool = getattr(call.module, "avg_pool", 1)
            units = torch.ones(1, *shape, device=call.received.device)
            pooled = F.avg_pool2d(units, pool, divisor_override=1) if pool > 1 else units
            self._sizes[call.name, shape] = products(pooled, call.module)
        return self._sizes[call.name, shape]

    def cost(self) -> Tensor:
        """The mean of g(v) over the inputs of the layers, weighted by the additions of each: a scalar with a gradient."""
        return self._mean([_cost(call, self.form) for call, _ in self._calls])

    @torch.no_grad()
    def share(self) -> float:
        """The spikes per neuron, weighted in the same way: additions as a part of those if all neurons fire."""
        return float(self._mean([_share(call) for call, _ in self._calls]))

    def _mean(self, values: list[Tensor]) -> Tensor:
        if not values:
            raise ValueError("the net must have a layer that gets spikes of a layer that is trained, and run within the block")
        total = sum(size for _, size in self._calls)
        return torch.stack([value * (size / total) for value, (_, size) in zip(values, self._calls, strict=True)]).sum()


class Penalty(nn.Module):
    """The penalty of a config: a `SpikeCost` and the weight that it has, kept in checkpoints as a buffer.

    With a target the share of spikes is led from what it is at the start to the target in half of the steps with a penalty. The
    weight grows while the running mean of the share is above that, and falls while it is below.
    """

    weight: Tensor
    shares: Tensor

    def __init__(self, config: Config, net: nn.Module) -> None:
        super().__init__()
        self.watch, self.target, self.start = SpikeCost(net, config.spike_form), config.spike_target, config.spike_start
        self.register_buffer("weight", torch.tensor(config.spike_penalty, dtype=torch.float64))
        self.register_buffer("shares", torch.zeros(2, dtype=torch.float64))  # at the start, and the running mean

    def term(self, step: int, total: int) -> Tensor | None:
        """What the loss of a step of `total` gets for the pass that `watch` saw; None before the penalty starts."""
        begin = math.ceil(self.start * total)
        if step < begin:
            return None
        if self.target is not None:
            self._steer(self.target, (step - begin) / (total - begin), total - begin)
        return float(self.weight) * self.watch.cost()

    def _steer(self, target: float, progress: float, steps: int) -> None:
        share = self.watch.share()
        if progress == 0:
            self.shares.fill_(share)
        first, mean = self.shares
        mean.mul_(MEMORY).add_((1 - MEMORY) * share)
        wanted = first + (target - first) * min(2 * progress, 1.0)
        self.weight.add_(STEER / steps * (mean - wanted)).clamp_(min=0.0)


def _cost(call: Call, form: str) -> Tensor:
    received = call.received
    if isinstance(received, SpikeTimes):
        return spike_cost(received, form)
    assert isinstance(received, Tensor)
    if _is_train(call):
        values = 1 - torch.arange(len(received), dtype=torch.float32, device=received.device) / len(received)
        return (COST_FORMS[form](values) * received.flatten(1).mean(1)).sum()
    received = received.float()
    positive = received.detach().clamp(min=0)
    peak = PEAK * (positive.square().sum() / (positive > 0).sum().clamp(min=1)).sqrt().clamp(min=1e-12)
    return COST_FORMS[form]((received / peak).clamp(0, 1)).mean()


def _share(call: Call) -> Tensor:
    received = call.received
    if isinstance(received, SpikeTimes):
        return (~received.silent).float().mean()
    assert isinstance(received, Tensor)
    return received.sum(0).mean() if _is_train(call) else (received > 0).float().mean()


def _is_train(call: Call) -> bool:
    """Whether a layer of firstspike received a dense train [T, B, ...]."""
    return isinstance(call.module, Synapses) and isinstance(call.received, Tensor) and call.received.dim() in (3, 5)
