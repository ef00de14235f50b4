"""The learning rate by hand; what a step takes into account."""

import math

import pytest
import torch
from torch import nn

from firstspike import nn as fs
from firstspike.train import Diverged, evaluate, fit
from firstspike.train.loop import learning_rate

from .conftest import run, same_bits


def rates(schedule, total=10, warmup=0.0):
    return [learning_rate(s, total=total, peak=2.0, schedule=schedule, warmup=warmup) for s in range(total)]


def test_outputs_without_a_class_are_noted(config, sets, capsys):
    for spec, noted in (("36-8-4", False), ("36-8-6", True)):
        fit(config.replace(spec=spec, epochs=1), datasets=sets)
        assert ("2 of the net's outputs" in capsys.readouterr().err) == noted


def test_schedules():
    found = rates("cosine")
    assert found[0] == 2.0 and found[5] == pytest.approx(1.0)
    assert found[9] == pytest.approx(1 + math.cos(0.9 * math.pi))
    assert found == sorted(found, reverse=True)
    assert rates("linear", total=4) == [2.0, 1.5, 1.0, 0.5]
    assert rates("constant", total=3) == [2.0, 2.0, 2.0]


def test_warmup_rises_to_the_peak():
    assert rates("constant", total=6, warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert rates("linear", total=8, warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 1.5, 1.0, 0.5]
    assert max(rates("cosine", total=20, warmup=2.5)) <= 2.0
    assert rates("cosine", total=4, warmup=4) == [0.5, 1.0, 1.5, 2.0]


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4))


@pytest.mark.parametrize("model", ["ttfs", "relu"])
def test_products_in_bfloat16_train_a_net_of_float32(config, sets, model):
    low = config.replace(timing="windowed", model=model, precision="bfloat16", epochs=4)
    result, full = run(low, sets), run(low.replace(precision="float32"), sets)
    assert result.history[-1].train.loss < 0.9 * result.history[0].train.loss
    assert evaluate(result.model, sets[1]) == result.history[-1].test  # outside of training all is float32
    assert not same_bits(result.model, full.model)


def test_a_given_optimizer_keeps_its_rates_under_the_schedule(config, sets):
    seen = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    def make(net):
        first, second = net.parameters()
        return Watching([{"params": [first], "lr": 0.4}, {"params": [second], "lr": 0.1}])

    run(config.replace(schedule="linear", epochs=1), sets, model=linear(), optimizer=make)
    assert seen[0] == [0.4, 0.1] and seen[5] == pytest.approx([0.2, 0.05])


def test_clipping_bounds_the_step(config, sets):
    norms = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            parameters = [p for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.stack([p.grad.norm() for p in parameters]).norm()))
            return super().step(closure)

    options = {"optimizer": lambda net: Watching(net.parameters(), lr=0.01)}
    run(config.replace(clip=0.1, epochs=1), sets, model=linear(), **options)
    assert max(norms) <= 0.1001 and len(norms) == 10


def test_losses_may_give_a_mean_or_one_value_per_sample(config, sets):
    losses = [
        None,
        nn.functional.cross_entropy,
        lambda scores, labels: nn.functional.cross_entropy(scores, labels, reduction="none"),
    ]
    found = [run(config.replace(epochs=1), sets, loss=loss).history[0].train.loss for loss in losses]
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-5)


def test_a_net_that_works_in_place_leaves_the_data_as_they_are(config, sets):
    before = sets[0].images.clone()
    run(config, sets, model=nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(36, 4)))
    assert torch.equal(sets[0].images, before)


@pytest.mark.parametrize("what", ["loss", "weight", "rate"])
def test_what_is_not_finite_ends_the_run(config, sets, what):
    if what == "weight":
        net = nn.Sequential(nn.Flatten(), fs.DirectLinear(36, 4, steps=4), fs.Integrate(4, 4, steps=4), fs.MembraneReadout())
        net[1].weight.data[0, 0] = math.nan  # its neuron never fires; scores stay finite
        with pytest.raises(Diverged, match=r"1\.weight holds NaN or infinity before training"):
            run(config, sets, model=net)
    elif what == "loss":
        with pytest.raises(Diverged, match="the loss is nan"):
            run(config, sets, loss=lambda scores, labels: scores.sum() * math.nan)
    else:
        with pytest.raises(Diverged):
            run(config.replace(lr=1e38, optimizer="sgd"), sets)
