"""Functions that `fit` calls after each epoch: what they see, and what they change."""

import torch
from torch import nn

from firstspike import models

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
