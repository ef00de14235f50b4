"""Nets of one's own in a run: found again by their description, compared on resuming, called with their own forward."""

import json
import re
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from firstspike import SpikeTimes, models, save, train
from firstspike import nn as fs
from firstspike.cli import app
from firstspike.train import BadCheckpoint, load_model

from .test_own_parts import curves, run

STEPS = 6


def chain(decay=1.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(),
        fs.DirectLinear(36, 16, steps=STEPS),
        fs.TTFSLinear(16, 16, steps=STEPS, decay=decay),
        fs.Integrate(16, 4, steps=STEPS),
        fs.MembraneReadout("mean"),
    )


def residual():
    torch.manual_seed(0)
    layers = [fs.TTFSLinear(36, 16, steps=STEPS), fs.Residual([fs.TTFSLinear(16, 16, steps=STEPS)], learn_scale=True)]
    return models.TTFSNet(
        [*layers, fs.TTFSLinear(16, 8, steps=STEPS)],
        encoder="latency",
        readout=fs.FirstSpike(classes=4),
        input_shape=(1, 6, 6),
    )


NETS = {
    "a chain": chain,
    "a chain as a net": lambda: models.as_net(chain(), (1, 6, 6)),
    "a residual net": residual,
    "a net of build, then changed": lambda: changed(models.build("36-12-4", input_shape=(1, 6, 6), steps=STEPS)),
}


def changed(net):
    net.layers[0].decay = 0.9
    return net


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_our_layers_is_found_again(name, config, sets, tmp_path):
    config = config.replace(spec="", epochs=2)
    result = run(config, sets, model=NETS[name](), directory=tmp_path)
    found = load_model(tmp_path)
    assert (
        type(found.model) is type(NETS[name]()) and found.model.state_dict().keys() == NETS[name]().state_dict().keys()
    )
    assert train.evaluate(found.model, sets[1], normalize=found.normalize) == result.test
    (tmp_path / "model.safetensors").unlink()
    again = load_model(tmp_path)  # of the checkpoint
    assert train.evaluate(again.model, sets[1], normalize=again.normalize) == result.test
    still = config.replace(lr=0.0, epochs=1)
    assert run(still, sets, model=NETS[name](), init_from=tmp_path, directory=tmp_path / "next").test == result.test


def test_weights_of_a_saved_net_to_start_from(config, sets, tmp_path):
    config, net = config.replace(spec="", epochs=2), chain()
    save(net, tmp_path / "net")
    expected = run(config, sets, model=chain())
    other = chain()
    for layer in other[1:-1]:
        nn.init.normal_(layer.weight)
    assert curves(run(config, sets, model=other, init_from=tmp_path / "net")) == curves(expected)
    with pytest.raises(ValueError, match=r"net is a net without a run; firstspike.load reads it"):
        load_model(tmp_path / "net")


def test_a_compiled_net_is_kept_as_the_net(config, sets, tmp_path):
    config = config.replace(spec="", epochs=2)
    compiled = torch.compile(chain(), backend="eager")
    result = run(config, sets, model=compiled, directory=tmp_path)
    assert curves(result) == curves(run(config, sets, model=chain()))
    assert isinstance(load_model(tmp_path).model, nn.Sequential)
    assert (
        train.evaluate(load_model(tmp_path, model=torch.compile(chain(), backend="eager")).model, sets[1])
        == result.test
    )
    longer = run(config.replace(epochs=3), sets, model=torch.compile(chain(), backend="eager"), directory=tmp_path)
    assert len(longer.history) == 3


def test_a_layer_that_is_called_twice(config, sets, tmp_path):
    def net():
        torch.manual_seed(0)
        layer = fs.TTFSLinear(16, 16, steps=STEPS)
        ends = fs.Integrate(16, 4, steps=STEPS), fs.MembraneReadout()
        return nn.Sequential(nn.Flatten(), fs.DirectLinear(36, 16, steps=STEPS), layer, layer, *ends)

    config = config.replace(spec="", epochs=2)
    result = run(config, sets, model=net(), directory=tmp_path)
    assert train.evaluate(load_model(tmp_path).model, sets[1]) == result.test
    longer = config.replace(epochs=3, schedule="constant")
    config = config.replace(schedule="constant")
    run(config, sets, model=net(), directory=tmp_path / "parts")
    assert curves(run(longer, sets, model=net(), directory=tmp_path / "parts")) == curves(
        run(longer, sets, model=net())
    )


def test_a_chain_whose_parts_have_names(config, sets, tmp_path):
    def net():
        return nn.Sequential(OrderedDict(zip(("flat", "first", "second", "out", "readout"), chain(), strict=True)))

    config = config.replace(spec="", epochs=1)
    result = run(config, sets, model=net(), directory=tmp_path)
    assert curves(result) == curves(run(config, sets, model=chain()))
    assert re.fullmatch(r"Result\(\w+, .*Sequential: 1 epochs, test accuracy .* %, \d+ parameters\)", repr(result))
    found = load_model(tmp_path).model
    assert train.evaluate(found, sets[1]) == result.test and found.second.steps == STEPS
    assert len(run(config.replace(epochs=2), sets, model=net(), directory=tmp_path).history) == 2


def test_spikes_of_a_chain_are_measured_as_those_of_its_net(config, sets):
    config = config.replace(spec="", epochs=2)
    one, other = run(config, sets, model=chain()), run(config, sets, model=models.as_net(chain(), (1, 6, 6)))
    assert one.test == other.test and len(one.test.spikes_per_layer) == 2
    assert one.history[0].train == other.history[0].train and one.test.steps_mean <= STEPS
    net = chain().eval()
    plain = train.evaluate(net, sets[1])
    for part in (net, net[0]):
        handle = part.register_forward_hook(lambda module, args, output: None)
        measured = train.evaluate(net, sets[1])
        assert measured.spikes_per_layer is None and measured.accuracy == plain.accuracy
        handle.remove()
    assert train.evaluate(nn.Sequential(net, nn.Softmax(1)), sets[1]).spikes_per_layer is None


def test_commands_take_a_run_of_ones_own_chain(config, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), fs.DirectLinear(64, 16, steps=STEPS), fs.Integrate(16, 10, steps=STEPS),
                        fs.MembraneReadout())  # fmt: skip
    result = train.fit(
        config.replace(spec="", steps=8, data="digits"), model=net, directory=tmp_path / "run", progress=False
    )
    shown = CliRunner().invoke(app, ["eval", str(tmp_path / "run"), "--json"])
    assert shown.exit_code == 0 and json.loads(shown.stdout)["accuracy"] == result.test.accuracy
    emulated = CliRunner().invoke(app, ["emulate", str(tmp_path / "run"), "--limit", "20"])
    assert emulated.exit_code == 0, emulated.output
    for command in (["profile"], ["plot", "--count", "20"]):
        made = CliRunner().invoke(app, [*command, str(tmp_path / "run")])
        assert made.exit_code == 0, made.output
    assert len(list((tmp_path / "run" / "plots").iterdir())) == 4


def test_emulate_tunes_a_run_of_ones_own_convolutional_chain(config, tmp_path):
    net = nn.Sequential(fs.DirectConv2d(1, 4, 3, steps=STEPS), fs.Integrate(144, 10, steps=STEPS), fs.MembraneReadout())
    train.fit(config.replace(spec="", steps=8, data="digits"), model=net, directory=tmp_path, progress=False)
    done = CliRunner().invoke(app, ["emulate", str(tmp_path), "--finetune", "1", "--limit", "20", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["network"] == "network"


@pytest.mark.parametrize("epochs", [1, 2])
def test_another_net_does_not_go_on(config, sets, tmp_path, epochs):
    config = config.replace(spec="", epochs=1)
    run(config, sets, model=chain(), directory=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".json", ".safetensors")}
    later = config.replace(epochs=epochs)
    with pytest.raises(BadCheckpoint, match=r"another net \(net\.parts\.2\.settings\.decay: 0.5, not 1.0\)"):
        run(later, sets, model=chain(decay=0.5), directory=tmp_path)
    with pytest.raises(BadCheckpoint, match=r"another net \(net\."):
        run(later, sets, model=nn.Sequential(nn.Identity(), *chain()), directory=tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert run(later, sets, model=chain(), directory=tmp_path).history[-1].epoch == epochs


def test_a_finished_run_of_a_spec_needs_no_checkpoint(config, sets, tmp_path):
    result = run(config, sets, directory=tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps(record | {"history": []}))
    assert run(config, sets, directory=tmp_path) == result


def test_a_damaged_description_is_named(config, sets, tmp_path):
    run(config.replace(spec="", epochs=1), sets, model=chain(), directory=tmp_path)
    (tmp_path / "model.safetensors").unlink()
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    for change in ({"kind": "Popen"}, {"kind": "Sequential", "parts": []}, {"kind": "Sequential"}):
        (tmp_path / "checkpoint.json").write_text(json.dumps(record | {"net": change}))
        with pytest.raises(ValueError, match=r"checkpoint-0001.* cannot be loaded: .*its description of the net"):
            load_model(tmp_path)


class Turned(models.TTFSNet):
    """A net of ours whose forward does something else."""

    def forward(self, x):
        return super().forward(x).flip(1)


class Wrapped(nn.Module):
    """The same, made of a net of ours in it."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).flip(1)


class Late(fs.TTFSLinear):
    """A layer whose neurons fire a step later when measured."""

    def forward(self, *args, **kwargs):
        spikes = super().forward(*args, **kwargs)
        if self.training:
            return spikes
        return SpikeTimes(torch.where(spikes.times < STEPS - 1, spikes.times + 1, spikes.times), STEPS)


def parts():
    torch.manual_seed(0)
    return [fs.DirectLinear(36, 16, steps=STEPS), fs.Integrate(16, 4, steps=STEPS)]


def test_a_forward_of_its_own_is_trained_and_measured(config, sets, tmp_path):
    config = config.replace(spec="")
    options = {"encoder": "direct", "readout": "membrane", "input_shape": (1, 6, 6)}
    result = run(config, sets, model=Turned(parts(), **options), directory=tmp_path)
    expected = run(config, sets, model=Wrapped(models.TTFSNet(parts(), **options)))
    assert curves(result) == curves(expected) and result.test.steps_mean is None
    with pytest.raises(ValueError, match=r"the run's net was given in Python"):
        load_model(tmp_path)
    net = load_model(tmp_path, model=Turned(parts(), **options)).model
    assert train.evaluate(net, sets[1]) == result.test


def test_evaluation_leaves_each_module_in_its_mode(sets):
    net = chain().train()
    net[1].eval()
    before = [module.training for module in net.modules()]
    train.evaluate(net, sets[1])
    assert [module.training for module in net.modules()] == before
    with pytest.raises(ValueError, match="labels must be classes in 0..3, got 4"):
        train.evaluate(net, replace(sets[1], labels=sets[1].labels + 1, classes=5))
    assert [module.training for module in net.modules()] == before


def test_hooks_of_a_net_are_measured(sets):
    net = models.TTFSNet(parts(), encoder="direct", readout="membrane", input_shape=(1, 6, 6))
    expected = train.evaluate(Wrapped(net), sets[1])
    net.register_forward_hook(lambda module, args, scores: scores.flip(1))
    assert train.evaluate(net, sets[1]).accuracy == expected.accuracy


def test_a_layer_of_ones_own_must_be_given_again(config, sets, tmp_path):
    hidden = lambda: Late(16, 16, steps=STEPS)  # noqa: E731
    net = lambda: nn.Sequential(chain()[:2], hidden(), chain()[3:])  # noqa: E731
    result = run(config.replace(spec=""), sets, model=net(), directory=tmp_path)
    with pytest.raises(ValueError, match=r"the run's net was given in Python"):
        load_model(tmp_path)
    found = load_model(tmp_path, model=net())
    assert train.evaluate(found.model, sets[1]) == result.test
