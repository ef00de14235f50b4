"""Functions that `fit` calls after each epoch: what they see, and what they change."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from firstspike import models, surrogate
from firstspike import nn as fs
from firstspike.train import evaluate

from .test_own_parts import curves, run


def test_callbacks_see_every_epoch_and_the_net(config, sets):
    seen = []
    result = run(config, sets, callbacks=[lambda epoch, net: seen.append((epoch, net))])
    assert tuple(epoch for epoch, _ in seen) == result.history
    assert isinstance(seen[0][1], models.TTFSNet)


def test_callbacks_get_the_net_in_evaluation_mode(config, sets):
    modes, net = [], nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(36, 4))
    net.register_forward_hook(lambda module, args, scores: modes.append(module.training))
    run(
        config.replace(spec="", epochs=2),
        sets,
        model=net,
        callbacks=[lambda epoch, net: modes.append(str(net[1].training))],
    )
    assert [mode for mode in modes if isinstance(mode, str)] == ["False"] * 2
    assert modes.count(True) == 20 and modes[modes.index("False") + 1] is True


def test_what_a_callback_unfreezes_stays_so_after_a_resume(config, sets, tmp_path):
    config = config.replace(spec="", schedule="constant")

    def net():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4))
        made[1].requires_grad_(False)
        return made

    def thaw(epoch, net):
        if epoch.epoch == 1:
            net[1].requires_grad_(True)

    whole = run(config, sets, model=net(), callbacks=[thaw])
    run(config.replace(epochs=2), sets, model=net(), callbacks=[thaw], directory=tmp_path)
    resumed = run(config, sets, model=net(), callbacks=[thaw], directory=tmp_path)
    assert curves(resumed) == curves(whole)
    assert curves(whole)[1:] != curves(run(config, sets, model=net()))[1:]


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4))


def prune(net):
    net[1].weight.data.mul_(net[1].weight.abs() > 0.1)


def freeze(net):
    net[1].requires_grad_(False)


@pytest.mark.parametrize("change", [prune, freeze])
@pytest.mark.parametrize("place", ["in the next callback", "in the next epoch"])
def test_what_a_callback_changes_survives_an_interruption(config, sets, tmp_path, change, place):
    config, stopped = config.replace(spec="", schedule="constant"), []

    def first(epoch, net):
        if epoch.epoch == 2:
            change(net)

    def second(epoch, net):
        if epoch.epoch == (2 if place == "in the next callback" else 3) and not stopped:
            stopped.append(epoch)
            raise KeyboardInterrupt

    whole = run(config, sets, model=dense(), callbacks=[first])
    with pytest.raises(KeyboardInterrupt):
        run(config, sets, model=dense(), callbacks=[first, second], directory=tmp_path)
    resumed = run(config, sets, model=dense(), callbacks=[first, second], directory=tmp_path)
    assert curves(resumed) == curves(whole) and stopped
    for name, value in whole.trained.model.state_dict().items():
        assert torch.equal(resumed.trained.model.state_dict()[name], value)
    assert curves(whole)[2] != curves(run(config, sets, model=dense()))[2]


def test_weights_that_are_averaged_are_not_changed(config, sets):
    config, seen = config.replace(spec="", average_epochs=1), []

    def look(epoch, net):
        seen.append(net[1].weight.clone())
        if epoch.epoch < 3:
            prune(net)  # before the mean begins

    run(config, sets, model=dense(), callbacks=[look])
    with pytest.raises(ValueError, match="callbacks must not change the weights in epochs that average_epochs counts"):
        run(config, sets, model=dense(), callbacks=[lambda epoch, net: prune(net)])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda net: setattr(net[1], "p", 0.0), "1.p"),
        (lambda net: setattr(net[2], "surrogate", surrogate.triangle(0.3)), "2._surrogate"),
        (lambda net: torch_prune.l1_unstructured(net[2], "weight", amount=3), "state_dict"),
    ],
)
def test_settings_that_a_callback_changes_are_warned_of(config, sets, tmp_path, change, name):
    config = config.replace(spec="", epochs=1)

    def net():
        layers = [nn.Flatten(), nn.Dropout(0.2), fs.DirectLinear(36, 8, steps=4), fs.Integrate(8, 4, steps=4)]
        return nn.Sequential(*layers, fs.MembraneReadout("mean"))

    def call(epoch, net):
        evaluate(net, sets[1])
        change(net)

    run(config, sets, model=net(), callbacks=[call])  # without a folder there is nothing to resume
    with pytest.warns(UserWarning, match=f"a callback changed {name} of the net, which no checkpoint holds"):
        run(config, sets, model=net(), callbacks=[call], directory=tmp_path)


def test_callbacks_that_measure_change_no_setting(config, sets, tmp_path):
    spec = "4C3-R(4C3)-6C3-MP2-12-4"
    for readout in ("membrane", "twd-exp", "first-spike"):
        config = config.replace(spec=spec, epochs=1, readout=readout)
        run(config, sets, callbacks=[lambda epoch, net: evaluate(net, sets[1])], directory=tmp_path / readout)


def test_a_learning_rate_that_a_callback_sets_is_told_to_have_no_effect(config, sets):
    made = []

    def optimizer(net):
        made.append(torch.optim.SGD(net.parameters(), lr=0.1))
        return made[-1]

    def halve(epoch, net):
        made[-1].param_groups[0]["lr"] /= 2

    config = config.replace(lr=1e-3, epochs=2, schedule="constant")
    with pytest.warns(UserWarning, match="changed the optimizer's learning rate, which has no effect: the schedule"):
        result = run(config, sets, optimizer=optimizer, callbacks=[halve])
    assert [epoch.lr for epoch in result.history] == [0.1, 0.1]


def test_a_parameter_that_a_callback_replaces_is_refused(config, sets):
    """The optimizer would go on with the old one."""

    def replace(epoch, net):
        net[1].weight = nn.Parameter(net[1].weight.detach().clone())

    with pytest.raises(ValueError, match=r"must change parameters in place, got another tensor as 1.weight"):
        run(config.replace(spec=""), sets, model=dense(), callbacks=[replace])
