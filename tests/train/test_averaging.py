"""The mean of the weights over the last epochs: what it is, where it is used, and what it leaves alone."""

import json

import pytest
import torch
from torch import nn

from firstspike.data import Normalize
from firstspike.train import BadCheckpoint, load_model
from firstspike.train.averaging import WeightAverage
from firstspike.train.distributed import ProcessGroup
from firstspike.train.evaluation import evaluate

from .conftest import run


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_mean_counts_from_its_first_epoch_and_is_put_in_for_a_while():
    net = nn.Linear(1, 1, bias=False)
    average = WeightAverage(net, first_epoch=1)
    for epoch, value in [(0, 100.0), (1, 1.0), (1, 2.0), (2, 6.0)]:
        net.weight.data.fill_(value)
        average.add(epoch)
    assert average.steps == 3
    with average.applied():
        assert net.weight.item() == pytest.approx(3.0) and torch.is_grad_enabled()
    assert net.weight.item() == 6.0
    average.load()
    assert net.weight.item() == pytest.approx(3.0)


def test_what_is_unfrozen_on_the_way_is_in_the_mean():
    net = nn.Linear(1, 1, bias=False).requires_grad_(False)
    average = WeightAverage(net, first_epoch=0)
    for value in (1.0, 3.0):
        net.weight.data.fill_(value)
        average.add(0)
        net.requires_grad_(True)
    average.load()
    assert net.weight.item() == 2.0


def test_a_mean_of_an_older_file_lacks_frozen_parameters_and_second_names():
    frozen, tied = nn.Linear(2, 2, bias=False).requires_grad_(False), nn.Linear(2, 2, bias=False)
    average = WeightAverage(nn.ModuleList([frozen, tied, tied]), first_epoch=0)
    average.restore(3, {"1.weight": torch.eye(2)})
    assert torch.equal(average.mean["0.weight"], frozen.weight) and torch.equal(average.mean["2.weight"], torch.eye(2))
    with pytest.raises(ValueError, match="the mean of 3 steps has other parameters than the net"):
        average.restore(3, {"0.weight": torch.eye(2)})


def test_an_unfinished_run_of_tied_weights_gives_their_mean(config, sets, tmp_path):
    def net():
        torch.manual_seed(0)
        layer = nn.Linear(36, 36)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(36, 4))

    run(config.replace(spec="", average_epochs=2), sets, model=net(), directory=tmp_path)
    finished = state(load_model(tmp_path, model=net()).model)
    for name in ("result.json", "model.safetensors"):
        (tmp_path / name).unlink()
    assert all(
        torch.equal(value, finished[name])
        for name, value in load_model(tmp_path, model=net()).model.state_dict().items()
    )


def test_without_a_step_the_net_keeps_its_weights():
    net = nn.Linear(1, 1)
    before, average = state(net), WeightAverage(net, first_epoch=5)
    average.add(4)
    with average.applied():
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("readout", ["membrane", "twd-exp"])
def test_a_run_ends_with_the_mean_of_the_weights_after_each_step(readout, config, sets, tmp_path):
    """The steps are seen through the optimizer; the measures and the saved net are those of their mean."""
    weights = []

    def optimizer(net):
        made = torch.optim.AdamW(net.parameters(), lr=config.lr, fused=True)
        made.register_step_post_hook(lambda *_: weights.append(state(net)))
        return made

    config = config.replace(average_epochs=2, readout=readout)
    result = run(config, sets, optimizer=optimizer, directory=tmp_path)
    counted = weights[-2 * (len(weights) // 3) :]
    saved = load_model(tmp_path).model
    for name, value in saved.state_dict().items():
        assert torch.allclose(value, torch.stack([entry[name] for entry in counted]).mean(0), atol=1e-5), name
    assert not torch.equal(saved.layers[0].weight, weights[-1]["layers.0.weight"])
    assert result.test == evaluate(saved, sets[1], normalize=Normalize(), processes=ProcessGroup())


def test_training_itself_and_earlier_epochs_are_as_without(config, sets):
    plain, averaged = run(config, sets), run(config.replace(average_epochs=1), sets)
    assert [entry.train for entry in averaged.history] == [entry.train for entry in plain.history]
    assert [entry.test for entry in averaged.history[:-1]] == [entry.test for entry in plain.history[:-1]]
    assert averaged.test.loss != plain.test.loss


def test_callbacks_and_an_own_net_get_what_is_measured(config, sets):
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    seen = []
    result = run(
        config.replace(spec="", average_epochs=2), sets, model=net, callbacks=[lambda epoch, net: seen.append(state(net))]
    )  # fmt: skip
    assert all(torch.equal(value, seen[-1][name]) for name, value in net.state_dict().items())
    assert result.test == evaluate(net, sets[1], normalize=Normalize(), processes=ProcessGroup())


def test_running_statistics_are_warned_of(config, sets):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 4))
    with pytest.warns(
        UserWarning,
        match=r"mean of the weights, but the module '0' has the running statistics of the last ones.*update_bn",
    ):
        run(config.replace(spec="", average_epochs=1, epochs=1), sets, model=net)


def test_an_unfinished_run_gives_the_mean_too(config, sets, tmp_path):
    run(config.replace(average_epochs=2), sets, directory=tmp_path)
    finished = state(load_model(tmp_path).model)
    (tmp_path / "result.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    assert all(torch.equal(value, finished[name]) for name, value in load_model(tmp_path).model.state_dict().items())
    run(config.replace(average_epochs=2), sets, directory=tmp_path)  # killed between the checkpoint and the result
    assert all(torch.equal(value, finished[name]) for name, value in load_model(tmp_path).model.state_dict().items())


def test_raised_epochs_average_their_own_steps_only(config, sets, tmp_path):
    config = config.replace(schedule="constant", average_epochs=2)
    run(config, sets, directory=tmp_path)
    run(config.replace(epochs=5), sets, directory=tmp_path)
    run(config.replace(epochs=5), sets, directory=tmp_path / "whole")
    one, other = load_model(tmp_path).model, load_model(tmp_path / "whole").model
    assert all(torch.equal(value, one.state_dict()[name]) for name, value in other.state_dict().items())


def test_a_checkpoint_without_its_mean_is_refused(config, sets, tmp_path):
    config = config.replace(average_epochs=2)
    run(config, sets, directory=tmp_path)
    (tmp_path / "result.json").unlink()
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps(record | {"averaged": 0}))
    with pytest.raises(BadCheckpoint, match=r"the mean of 0 steps has other parameters than the net"):
        run(config, sets, directory=tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_mean_of_a_small_float_type_moves(dtype):
    net = nn.Linear(1, 1, bias=False).to(dtype)
    average = WeightAverage(net, first_epoch=0)
    for value in torch.linspace(1, 2, 1000).tolist():
        net.weight.data.fill_(value)
        average.add(0)
    other = WeightAverage(net, first_epoch=0)
    other.restore(average.steps, {name: value.clone() for name, value in average.mean.items()})
    for one in (average, other):
        assert one.mean["weight"].item() == pytest.approx(1.5, abs=2e-3)
        one.load()
        assert one.holds_mean() and net.weight.dtype == dtype
        assert net.weight.item() == pytest.approx(1.5, abs=2e-3)


def test_parameters_of_integers_are_kept_as_they_are():
    net = nn.Linear(1, 1, bias=False)
    net.register_parameter("count", nn.Parameter(torch.tensor([3]), requires_grad=False))
    average = WeightAverage(net, first_epoch=0)
    for _ in range(3):
        average.add(0)
    assert average.mean["count"].tolist() == [3]
