"""Nets whose code does more than make scores of data: what they do to their input, to gradients, and to what is saved."""

import warnings

import pytest
import torch
from torch import nn

from firstspike import data, train
from firstspike import nn as fs

from .test_own_parts import curves, run


class InPlace(nn.Module):
    """Works in place on its input."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(36, 4)

    def forward(self, x):
        """Scores."""
        return self.layer(x.sub_(0.5).flatten(1))


def test_a_net_that_works_in_place_leaves_the_data_as_they_are(config, sets):
    class Apart(InPlace):
        def forward(self, x):
            """Scores."""
            return self.layer((x - 0.5).flatten(1))

    floats = [data.from_arrays(part.images.float() / 255, part.labels) for part in sets]
    before = [part.images.clone() for part in floats]
    config = config.replace(spec="")
    results = [run(config, tuple(floats), model=net) for net in (InPlace(), Apart())]
    assert curves(results[0]) == curves(results[1])
    assert all(torch.equal(part.images, images) for part, images in zip(floats, before, strict=True))


def test_gradients_that_no_optimizer_takes_do_not_pile_up(config, sets):
    """They are no part of what `clip` bounds either."""
    config = config.replace(spec="", clip=0.1)

    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4))

    def optimizer(net):
        return torch.optim.SGD(net[3].parameters(), lr=0.1)

    frozen = net()
    frozen[1].requires_grad_(False)
    expected = run(config, sets, model=frozen, optimizer=optimizer)
    assert curves(run(config, sets, model=net(), optimizer=optimizer)) == curves(expected)


def test_a_net_whose_state_no_checkpoint_can_hold_is_refused(config, sets):
    class Extra(InPlace):
        def get_extra_state(self):
            """A table."""
            return {"calls": 1}

        def set_extra_state(self, state):
            """Nothing."""

    with pytest.raises(TypeError, match="state_dict must hold dense tensors alone, got dict as _extra_state"):
        run(config.replace(spec=""), sets, model=Extra())


def test_a_scripted_net_trains(config, sets):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of torch.jit
        net = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(36, 4)))
    assert run(config.replace(spec=""), sets, model=net).test.accuracy > 0.5


@pytest.mark.parametrize("change", [{"steps": 5}, {"decay": 0.5}, {"threshold": 0.5}])
def test_other_settings_of_layers_within_a_net_of_ones_own_code_are_another_run(config, sets, tmp_path, change):
    class Own(nn.Module):
        def forward(self, x):
            return x

    def net(steps=4, **options):
        layers = [fs.DirectLinear(36, 8, steps=steps, **options), fs.Integrate(8, 4, steps=steps), fs.MembraneReadout()]
        return nn.Sequential(Own(), nn.Flatten(), *layers)

    config = config.replace(spec="", steps=8, epochs=1)
    first = train.fit(config, model=net(), datasets=sets, directory=tmp_path, progress=False)
    again = train.fit(config, model=net(), datasets=sets, directory=tmp_path, progress=False)
    assert again.test == first.test
    for epochs in (1, 2):
        with pytest.raises(train.BadCheckpoint, match=r"holds a run with other settings \(net\.2: "):
            train.fit(
                config.replace(epochs=epochs), model=net(**change), datasets=sets, directory=tmp_path, progress=False
            )
