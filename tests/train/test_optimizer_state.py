"""What an optimizer keeps is in the checkpoint, wherever it keeps it."""

import json
import math

import pytest
import torch

from firstspike.train import BadCheckpoint
from firstspike.train.optimizer_state import OptimizerState

from .conftest import run


class Fading(torch.optim.SGD):
    """As schedule-free optimizers do, it counts its steps in `param_groups`."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.2)
        for group in self.param_groups:
            group |= {"k": 0, "sums": (0.0, 0), "weight": torch.zeros(()), "best": math.inf}

    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
            group["sums"] = (group["sums"][0] + group["lr"], group["k"])
            group["weight"] += group["sums"][0]
            group["lr"] /= group["k"] + float(group["weight"])
            group["late"] = str(group["k"])
        super().step(closure)


def weights(result):
    return result.trained.model.state_dict()


@pytest.mark.parametrize("made", [lambda net: Fading(net.parameters()),
                                  lambda net: Fading([{"params": [p]} for p in net.parameters()])])  # fmt: skip
def test_what_it_keeps_in_its_groups_resumes_with_the_same_bits(config, sets, tmp_path, made):
    config = config.replace(schedule="constant", epochs=4)
    whole = weights(run(config, sets, optimizer=made))
    run(config.replace(epochs=2), sets, optimizer=made, directory=tmp_path)
    resumed = weights(run(config, sets, optimizer=made, directory=tmp_path))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_only_what_training_changed_is_kept():
    """A run goes on with the settings that its optimizer is made with, as it does with those of its config."""
    weight = torch.nn.Parameter(torch.ones(2))
    state = OptimizerState(Fading([weight]))
    assert state.collect() == ({}, {}, [{}])
    weight.grad = torch.ones(2)
    state.optimizer.step()
    tensors, scalars, groups = state.collect()
    assert list(tensors) == ["group.0.weight"] and scalars == {}
    assert groups == [{"k": 1, "sums": [0.2, 1], "late": "1"}]
    fresh = OptimizerState(Fading([torch.nn.Parameter(torch.ones(2))]))
    fresh.restore(tensors, scalars, groups)
    (group,) = fresh.optimizer.param_groups
    assert (group["k"], group["sums"], group["late"], group["best"]) == (1, (0.2, 1), "1", math.inf)
    assert torch.equal(group["weight"], torch.tensor(0.2)) and group["lr"] == 0.2
    assert fresh.collect()[2] == groups


class Remembering(torch.optim.SGD):
    """Keeps something for each parameter."""

    def __init__(self, parameters, made):
        super().__init__(parameters, lr=0.1)
        self.made, self.steps = made, 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["kept"] = self.made(parameter)
        super().step(closure)


def test_state_keeps_its_type():
    weight = torch.nn.Parameter(torch.ones(2, 3).t())
    state = OptimizerState(Remembering([weight], lambda p: torch.full_like(p, 1 / 3, dtype=torch.float64)))
    weight.grad = torch.ones_like(weight)
    state.optimizer.step()
    fresh = OptimizerState(Remembering([weight], None))
    fresh.restore(*state.collect())
    kept = fresh.optimizer.state[weight]["kept"]
    assert torch.equal(kept, state.optimizer.state[weight]["kept"]) and kept.dtype == torch.float64
    assert kept.stride() == weight.stride()


@pytest.mark.parametrize("made", [lambda p: [p.detach()], lambda p: math.inf, lambda p: {1: 2}])
def test_state_that_a_checkpoint_cannot_hold_is_named_after_the_first_step(config, sets, tmp_path, made):
    found = []

    def optimizer(net):
        found.append(Remembering(net.parameters(), made))
        return found[-1]

    with pytest.raises(TypeError, match="optimizer must keep tensors, .* as 'kept', which a checkpoint cannot hold"):
        run(config, sets, optimizer=optimizer, directory=tmp_path)
    assert found[0].steps == 1
    run(config.replace(epochs=1), sets, optimizer=optimizer)


def test_state_of_no_parameter_is_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    OptimizerState(optimizer).check()
    optimizer.state["all"]["k"] = 1
    with pytest.raises(TypeError, match=r"optimizer must keep its state by parameter, got state\['all'\]"):
        OptimizerState(optimizer).check()


def test_another_number_of_groups_does_not_fit(config, sets, tmp_path):
    count = [1]

    def made(net):
        first, *rest = net.parameters()
        return torch.optim.SGD([{"params": [first]}, {"params": rest}][: count[0]], lr=0.1)

    run(config.replace(epochs=1), sets, optimizer=made, directory=tmp_path)
    count[0] = 2
    with pytest.raises(BadCheckpoint, match=r"other settings \(optimizer\.groups: 2, not 1\)"):
        run(config, sets, optimizer=made, directory=tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps(record | {"details": {}}))
    with pytest.raises(BadCheckpoint, match="the checkpoint's optimizer does not fit"):
        run(config, sets, optimizer=made, directory=tmp_path)


def test_state_that_is_not_named_by_texts_is_refused(config, sets, tmp_path):
    class Numbered(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter][0] = 1.0

    with pytest.raises(
        TypeError, match="optimizer must name what it keeps by texts, got 0 of type int, which a checkpoint cannot"
    ):
        run(config, sets, optimizer=lambda net: Numbered(net.parameters(), lr=0.1), directory=tmp_path)
