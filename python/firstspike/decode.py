"""Decoders: output spikes or membranes to class scores, and the step at which a decision is there."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import checks
from .spikes import SpikeTimes

TEMPORAL_MODES = ("exp", "linear")
MEMBRANE_MODES = ("last", "mean", "weighted")


def temporal_weights(steps: int, *, gamma: float, mode: str = "exp", device: torch.device | str | None = None) -> Tensor:
    """The weights w[t] of temporal weighting decoding, float32 [T], falling in t (arXiv 2410.23619, Eq. 20-24).

    mode "exp": w[t] = gamma^-t, gamma >= 1. mode "linear": w[t] = gamma (T - t) / T, gamma > 0.

    Parameters
    ----------
    steps : T, 1 to 254.
    gamma : base ("exp", at least 1) or factor ("linear", > 0).
    mode : "exp" or "linear".
    device : of the result.

    Examples
    --------
    >>> temporal_weights(4, gamma=2.0)
    tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    steps = checks.steps(steps)
    checks.one_of("mode", mode, TEMPORAL_MODES)
    clock = torch.arange(steps, dtype=torch.float32, device=device)
    if mode == "exp":
        return checks.real("gamma (mode exp)", gamma, 1.0) ** -clock
    return checks.real("gamma", gamma, 0.0, open_low=True) * (steps - clock) / steps


def temporal_weighting(spikes: SpikeTimes, *, gamma: float, mode: str = "exp") -> Tensor:
    """Temporal weighting decoder (TWD): y = sum_t w[t] O[t], float32 [B, C]; a silent neuron scores 0. Differentiable.

    Parameters
    ----------
    spikes : [B, C].
    gamma, mode : as in `temporal_weights`; a large gamma rewards only the first steps.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[1, 0, 255]], dtype=torch.uint8), steps=4)
    >>> temporal_weighting(spikes, gamma=2.0)
    tensor([[0.5000, 1.0000, 0.0000]])
    """
    _output_spikes(spikes)
    weights = temporal_weights(spikes.steps, gamma=gamma, mode=mode, device=spikes.device)
    return (weights.view(-1, 1, 1) * spikes.dense()).sum(0)


def membrane(v: Tensor, mode: str = "last") -> Tensor:
    """Scores [B, C] from the output membrane v, float32 [T, B, C], of a layer that never fires. Differentiable.

    mode "last": v[T - 1]; with decay 1 the spike times of the layer before do not count, only which neurons fired. "mean": the
    mean over the steps. "weighted" (ours): sum_t w[t] v[t], w[t] = 2 (T - t) / (T (T + 1)), so that early steps count more.

    Parameters
    ----------
    v : float32 [T, B, C].
    mode : "last", "mean" or "weighted".

    Examples
    --------
    >>> membrane(torch.tensor([[[3.0]], [[6.0]], [[9.0]]]), "weighted")
    tensor([[5.]])
    """
    checks.one_of("mode", mode, MEMBRANE_MODES)
    v = _over_time("v", v)
    if mode == "last":
        return v[-1]
    if mode == "mean":
        return v.mean(0)
    return (_early_weights(v) * v).sum(0)


def running_membrane(v: Tensor, mode: str = "last") -> Tensor:
    """The scores that `membrane` gives of a run that ends after each step, [T, B, C].

    Parameters
    ----------
    v, mode : as in `membrane`.

    Examples
    --------
    >>> running_membrane(torch.tensor([[[3.0]], [[6.0]], [[9.0]]]), "mean").flatten()
    tensor([3.0000, 4.5000, 6.0000])
    """
    checks.one_of("mode", mode, MEMBRANE_MODES)
    v = _over_time("v", v)
    if mode == "last":
        return v
    ran = torch.arange(1, len(v) + 1, device=v.device, dtype=v.dtype).view(-1, 1, 1)
    if mode == "mean":
        return v.cumsum(0) / ran
    return v.cumsum(0).cumsum(0) * 2 / (ran * (ran + 1))


def stopped(scores: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Stop each sample after the first step in which its best score leads the second by `margin`; else after the last step.

    Returns the scores then, [B, C], and the number of steps, int64 [B], 1 to T.

    Parameters
    ----------
    scores : float [T, B, C], if the run ended after each step (`running_membrane`, `models.TTFSNet.running`); C at least 2.
    margin : the lead, > 0, in the unit of the scores.

    Examples
    --------
    >>> scores, steps = stopped(torch.tensor([[[2.0, 1.0]], [[2.0, 4.0]], [[5.0, 4.0]]]), margin=2.0)
    >>> scores, steps
    (tensor([[2., 4.]]), tensor([2]))
    """
    scores = _over_time("scores", scores)
    if scores.shape[2] < 2:
        raise ValueError(f"scores must have at least two classes in [steps, batch, classes], got {tuple(scores.shape)}")
    margin = checks.positive("margin", margin)
    best = scores.detach().topk(2, -1).values
    clear = best[..., 0] - best[..., 1] >= margin
    clear[-1] = True
    last = clear.int().argmax(0)  # of equals the first
    return scores.gather(0, last.view(1, -1, 1).expand(1, *scores.shape[1:]))[0], last + 1


def overshoot(spikes: SpikeTimes, v: Tensor, *, threshold: float = 1.0) -> Tensor:
    """V - threshold at each neuron's spike, or in the last step where it is silent (then negative): float32 [B, C].

    Parameters
    ----------
    spikes : [B, C];
    v : the same neurons' membrane without reset, [T, B, C], as `nn.TTFSLinear.membrane` returns it;
    threshold : the layer's, > 0, and 1 where it has one per output, since its membrane is in units of it.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[1, 255]], dtype=torch.uint8), steps=2)
    >>> overshoot(spikes, torch.tensor([[[0.5, 0.25]], [[1.5, 0.5]]]))
    tensor([[ 0.5000, -0.5000]])
    """
    _output_spikes(spikes)
    v = checks.float32("v", v, 3)
    if v.shape != (spikes.steps, *spikes.shape):
        raise ValueError(f"v must have shape {(spikes.steps, *spikes.shape)}, got {tuple(v.shape)}")
    threshold = checks.positive("threshold", threshold)
    when = spikes.times.long().clamp(max=spikes.steps - 1)
    return v.gather(0, when.unsqueeze(0)).squeeze(0) - threshold


def first_spike(spikes: SpikeTimes, overshoot: Tensor | None = None) -> Tensor:
    """The class whose neuron fires first, int64 [B]. Not differentiable.

    Parameters
    ----------
    spikes : [B, C].
    overshoot : finite float32 [B, C], see the function of that name. Ties go to the larger overshoot, then to the lower index,
        also where all are silent. On CUDA and in a traced graph NaN counts as the smallest overshoot.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[3, 1, 1]], dtype=torch.uint8), steps=4)
    >>> first_spike(spikes), first_spike(spikes, overshoot=torch.tensor([[0.0, 0.1, 0.2]]))
    (tensor([1]), tensor([2]))
    """
    _output_spikes(spikes)
    first = spikes.times == spikes.times.amin(1, keepdim=True)
    if overshoot is None:
        rank = torch.zeros(spikes.shape, dtype=torch.float32, device=spikes.device)
    else:
        rank = _checked_overshoot(overshoot, spikes)
        checks.finite("overshoot", rank)
    rank = rank.masked_fill(~first | rank.isnan(), -torch.inf)
    best = first & (rank == rank.amax(1, keepdim=True))
    index = torch.arange(spikes.shape[1], device=spikes.device)
    return torch.where(best, index, spikes.shape[1]).amin(1)


def population(scores: Tensor, classes: int) -> Tensor:
    """Mean score of each class's neurons, [..., classes], of scores [..., classes * k], in the order of `grouped`.

    Parameters
    ----------
    scores : [..., classes * k].
    classes : their number.

    Examples
    --------
    >>> population(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), classes=2)
    tensor([[2., 7.]])
    """
    groups = grouped(scores, classes)
    return scores if groups.shape[-1] == 1 else groups.mean(-1)


def decision_step(spikes: SpikeTimes) -> Tensor:
    """Step of each sample's first output spike, int64 [B], 0 to T - 1; T where no output neuron fires.

    A decision in step t has cost t + 1 steps of inference.

    Parameters
    ----------
    spikes : of the output neurons, [B, C].

    Examples
    --------
    >>> decision_step(SpikeTimes(torch.tensor([[3, 1], [255, 255]], dtype=torch.uint8), steps=4))
    tensor([1, 4])
    """
    _output_spikes(spikes)
    first = spikes.times.amin(1).long()
    return first.masked_fill(first == checks.SILENT, spikes.steps)


def settled_step(scores: Tensor) -> Tensor:
    """Step from which on the argmax of running scores [T, B, C] no longer changes, int64 [B], 0 to T - 1.

    Known only afterwards: a yardstick, not a rule for stopping.

    Parameters
    ----------
    scores : float [T, B, C].

    Examples
    --------
    >>> settled_step(torch.tensor([[[2.0, 1.0]], [[2.0, 3.0]], [[2.0, 4.0]]]))
    tensor([1])
    """
    scores = _over_time("scores", scores)
    if scores.shape[2] == 0:
        raise ValueError(f"scores must have at least one class in [steps, batch, classes], got {tuple(scores.shape)}")
    answers = scores.detach().argmax(-1)
    differs = answers != answers[-1]
    clock = torch.arange(1, len(scores) + 1, device=scores.device).unsqueeze(1)
    return (differs * clock).amax(0)


def ties(spikes: SpikeTimes, classes: int | None = None) -> Tensor:
    """Bool [B]: the first output step has spikes of more than one class, so that the time alone does not decide.

    Parameters
    ----------
    spikes : [B, C].
    classes : as in `population`; by default every neuron is a class.

    Examples
    --------
    >>> ties(SpikeTimes(torch.tensor([[1, 1, 3], [1, 2, 3]], dtype=torch.uint8), steps=4))
    tensor([ True, False])
    """
    _output_spikes(spikes)
    first = (spikes.times == spikes.times.amin(1, keepdim=True)) & ~spikes.silent
    return grouped(first, spikes.shape[1] if classes is None else classes).any(-1).sum(-1) > 1


def grouped(scores: Tensor, classes: int) -> Tensor:
    """Scores [..., classes * k] as [..., classes, k]: class c owns neurons c k to (c + 1) k - 1.

    Parameters
    ----------
    scores : [..., classes * k].
    classes : their number.

    Examples
    --------
    >>> grouped(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), classes=2).shape
    torch.Size([1, 2, 2])
    """
    checks.instance("scores", scores, Tensor, "a torch.Tensor")
    checks.integer("classes", classes, 1)
    if scores.dim() < 2 or scores.shape[-1] == 0 or scores.shape[-1] % classes:
        raise ValueError(f"scores must have shape [..., classes {classes} times k], got {tuple(scores.shape)}")
    return torch.unflatten(scores, -1, (classes, -1))


def _early_weights(v: Tensor) -> Tensor:
    later = torch.arange(len(v), 0, -1, device=v.device, dtype=v.dtype).view(-1, 1, 1)
    return 2 * later / (len(v) * (len(v) + 1))


def _over_time(name: str, value: Tensor) -> Tensor:
    value = checks.float32(name, value, 3)
    if len(value) == 0:
        raise ValueError(f"{name} must have at least one step in [steps, batch, classes], got {tuple(value.shape)}")
    return value


def _checked_overshoot(overshoot: Tensor, spikes: SpikeTimes) -> Tensor:
    overshoot = checks.float32("overshoot", overshoot)
    checks.same_device("overshoot", overshoot, "spikes", spikes.times)
    if overshoot.shape != spikes.shape:
        raise ValueError(f"overshoot must have the spikes' shape {tuple(spikes.shape)}, got {tuple(overshoot.shape)}")
    return overshoot


def _output_spikes(spikes: SpikeTimes) -> None:
    checks.instance("spikes", spikes, SpikeTimes, "SpikeTimes")
    if len(spikes.shape) != 2 or spikes.shape[1] == 0:
        raise ValueError(f"spikes must have shape [batch, neurons] with at least one neuron, got {tuple(spikes.shape)}")
