"""The mean of the weights over the last epochs of a run, which is measured and saved in place of the last weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from .._base.checks import warn


class WeightAverage:
    """The mean of a net's parameters, taken after every step of the last epochs.

    Training goes on with the net's own weights, so it is the same with and without. Buffers are not averaged.

    Source: B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on
    Control and Optimization 30 (1992); as a tail of training, P. Izmailov et al., "Averaging weights leads to wider
    optima and better generalization", UAI 2018.

    Args:
        model: the net.
        first_epoch: 0, 1, ...: the epoch from which on steps count.

    Attributes:
        steps: how many steps are in the mean.
        mean: the mean of each parameter, by name, in float32 at least; empty without steps.
    """

    def __init__(self, model: nn.Module, first_epoch: int) -> None:
        self.first_epoch = first_epoch
        self.steps = 0
        self.mean: dict[str, Tensor] = {}
        self._parameters = dict(model.named_parameters(remove_duplicate=False))  # a checkpoint has every name

    @torch.no_grad()
    def add(self, epoch: int) -> None:
        """Take the net's present weights into the mean; nothing before `first_epoch`."""
        if epoch < self.first_epoch:
            return
        self.steps += 1
        for name, parameter in self._parameters.items():
            if self.steps == 1:
                self.mean[name] = parameter.detach().to(_mean_type(parameter), copy=True)
            elif parameter.dtype.is_floating_point or parameter.dtype.is_complex:
                self.mean[name].lerp_(parameter.to(self.mean[name].dtype), 1 / self.steps)
            else:
                self.mean[name].copy_(parameter)  # of integers, which are not trained

    def restore(self, steps: int, mean: dict[str, Tensor]) -> None:
        """Continue with the mean of an earlier session; ValueError where it does not fit the net.

        Older files have only one name per shared parameter, and no frozen parameters; the mean of those is their value.
        """
        if steps:
            lacking = {name: self._known(name, mean) for name in self._parameters if name not in mean}
            mean = mean | {name: value for name, value in lacking.items() if value is not None}
        shapes = {name: parameter.shape for name, parameter in self._parameters.items()} if steps else {}
        if {name: value.shape for name, value in mean.items()} != shapes:
            raise ValueError(f"the mean of {steps} steps has other parameters than the net")
        self.steps = steps
        own = self._parameters
        self.mean = {
            name: torch.empty_like(own[name], dtype=_mean_type(own[name])).copy_(value) for name, value in mean.items()
        }

    def _known(self, name: str, mean: dict[str, Tensor]) -> Tensor | None:
        parameter = self._parameters[name]
        same = (mean[other] for other, value in self._parameters.items() if value is parameter and other in mean)
        return next(same, None if parameter.requires_grad else parameter.detach())

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the net has the mean's weights (its own, where no step is in the mean), and afterwards its own again."""
        kept = {name: self._parameters[name].detach().clone() for name in self.mean}
        self.load()
        try:
            yield
        finally:
            self._put(kept)

    def load(self) -> None:
        """Put the mean's weights into the net for good."""
        self._put(self.mean)

    def holds_mean(self) -> bool:
        """Whether the net has the mean's weights now."""
        own = self._parameters
        return all(torch.equal(own[name], value.to(own[name].dtype)) for name, value in self.mean.items())

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            self._parameters[name].copy_(value)


def warn_of_running_statistics(model: nn.Module) -> None:
    """Warn of batch normalisation: its running statistics are those of the last weights, not of their mean."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            warn(
                f"average_epochs takes the mean of the weights, but the module {name!r} has the running statistics of the last "
                "ones, and the accuracies are of the two together; recompute the statistics with "
                "torch.optim.swa_utils.update_bn after the run"
            )
            return


def _mean_type(parameter: Tensor) -> torch.dtype:
    """The type of a parameter's mean: float32 at least, as a mean moves by less per step than smaller float types resolve."""
    small = parameter.dtype.is_floating_point and parameter.dtype.itemsize < 4
    return torch.float32 if small else parameter.dtype
