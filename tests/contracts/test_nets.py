"""What every net of the package can do: one table of nets of both timings, and one test per promise."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import firstspike
from firstspike import SpikeTimes, data, emulator, energy, inspect, models, plot, train
from firstspike import nn as fs
from firstspike.models import TTFSNet

from ..samples import generator

SHAPE, T = (1, 8, 8), 8
MLP, CNN, RESIDUAL = "64-20-12-4", "4C3-AP2-8C3-12-4", "4C3-R(4C3-4C3)-AP2-R(4C3-8C3s2)-4"
NETS: dict[str, dict[str, Any]] = {
    "step mlp": {"spec": MLP},
    "step cnn, mean": {"spec": CNN, "readout": "membrane-mean", "learn_threshold": True, "dropout": 0.1},
    "step max pool": {"spec": "4C3-MP2-8C3-4", "synaptic_decay": 0.5, "encoder": "latency", "readout": "membrane-weighted"},
    "step latency, twd": {"spec": MLP, "encoder": "latency", "readout": "twd-exp", "population": 2},
    "step log latency, residual": {"spec": RESIDUAL, "encoder": "latency-log", "readout": "twd-linear"},
    "step spikes, first spike": {"spec": CNN, "encoder": "spikes", "readout": "first-spike"},
    "step residual": {"spec": RESIDUAL, "decay": 0.5, "normalization": "channel"},
    "step pools of one direction": {"spec": "4C3-AP1x2-8C3-AP4x1-12-4", "encoder": "latency"},
    "step max pools of one direction": {"spec": "4C3-MP1x2-8C3-EP2x1-4"},
    "windowed pools of one direction": {"spec": "4C3-AP1x2-8C3-MP2x1-8C3-AP1x4-4", "timing": "windowed"},
    "windowed mlp": {"spec": MLP, "timing": "windowed", "dropout": 0.1},
    "windowed cnn": {"spec": CNN, "timing": "windowed", "normalization": False, "input_steps": 15},
    "windowed max pool": {"spec": "4C3-MP2-8C3-4", "timing": "windowed", "input_steps": 1},
    "windowed single-spike pools": {"spec": "4C3-SP2-8C3-SP1x3-12-4", "timing": "windowed"},
    "windowed residual": {"spec": RESIDUAL, "timing": "windowed"},
}
RELUS = {"relu mlp": {"spec": MLP}, "relu residual": {"spec": RESIDUAL, "normalization": True, "dropout": 0.1}}
EVERY, SPIKING = pytest.mark.parametrize("name", [*NETS, *RELUS]), pytest.mark.parametrize("name", NETS)


def build(name: str) -> Any:
    """A net of the table, after a pass in training so that running statistics are not the first ones."""
    if name in RELUS:
        net: Any = models.relu_counterpart(input_shape=SHAPE, generator=generator(0), **RELUS[name])
    else:
        net = models.build(input_shape=SHAPE, steps=T, generator=generator(0), **NETS[name])
    net(samples(name))
    return net.eval()


def samples(name: str, number: int = 6) -> Any:
    """What a net takes: pixels, or spikes where it has no encoder."""
    pixels = torch.randint(0, 256, (number, *SHAPE), generator=generator(1), dtype=torch.uint8)
    takes_spikes = NETS.get(name, {}).get("encoder") == "spikes"
    return firstspike.encode.latency(pixels / 255, T) if takes_spikes else pixels


def firing(net: nn.Module) -> list[str]:
    return [name for name, part in net.named_modules() if isinstance(part, fs.Synapses) and part.fires]


@SPIKING
def test_facts(name: str) -> None:
    net = build(name)
    windowed = name.startswith("windowed")
    assert net.timing == ("windowed" if windowed else "step") and net.input_shape == SHAPE and net.normalize is None
    assert net.input_steps == (NETS[name].get("input_steps", 15) if windowed else T)
    assert net.steps == T and net.latency == (T * len(firing(net)) if windowed else T)
    assert net.spec == NETS[name]["spec"]


@SPIKING
def test_configuration(name: str) -> None:
    net = build(name)
    config = json.loads(json.dumps(net.config()))
    again = models.from_config(config, generator=generator(0))
    assert type(again) is TTFSNet and again.config() == net.config()
    assert models.files.describe(again) == models.files.describe(net)
    assert {key: config[key] for key in NETS[name]} == NETS[name]


@EVERY
def test_files(name: str, tmp_path: Path) -> None:
    net, x, state = build(name), samples(name), torch.get_rng_state()
    if name in NETS:
        net.normalize = None if name == "step spikes, first spike" else fs.Normalize(0.0, 2.0)
    firstspike.save(net, tmp_path / "net")
    loaded = firstspike.load(tmp_path / "net")
    assert type(loaded) is type(net) and not loaded.training and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(loaded(x), net(x)) and (name in RELUS or loaded.config() == net.config())
    firstspike.save(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()


@EVERY
def test_copies(name: str) -> None:
    net, x = build(name), samples(name)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(copied(x), net(x)) and copied.state_dict().keys() == net.state_dict().keys()
    expected = net(x)
    copied.train()(x)  # running statistics of the copy alone
    assert torch.equal(net(x), expected)


@SPIKING
@pytest.mark.parametrize("training", [False, True])
def test_observation_and_monitor(name: str, training: bool) -> None:
    net, x = build(name).train(training), samples(name)
    start = copy.deepcopy(net.state_dict())
    torch.manual_seed(0)
    scores = net(x)
    net.load_state_dict(start)
    torch.manual_seed(0)
    with inspect.Monitor(net) as monitor:
        seen = net.observe(x)
    assert torch.equal(seen.scores, scores) and torch.equal(monitor.scores, scores)
    fired = {layer: spikes.times for layer, spikes in monitor.times.items() if layer in firing(net)}
    assert list(fired) == firing(net) and len(seen.layers) == len(fired)
    assert all(torch.equal(a.times, b) for a, b in zip(seen.layers, fired.values(), strict=True))
    assert torch.equal(seen.decision_step, monitor.decision_step) and seen.steps == monitor.readout_steps == net.latency
    assert torch.equal(seen.spikes(), sum(spikes.count() for spikes in seen.layers))
    assert not any(module._forward_hooks for module in net.modules())
    seen.scores.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters() if parameter.requires_grad)
    assert len(monitor.table()) == len(monitor.layers)


@SPIKING
def test_pictures(name: str) -> None:
    net, x = build(name), samples(name)
    with inspect.Monitor(net) as seen:
        net(x)
    first = next(layer for layer in net.modules() if isinstance(layer, fs.Synapses))
    for picture in (plot.raster(seen), plot.histogram(seen), plot.membrane(seen, 1), plot.weights(first)):
        assert picture.axes


@SPIKING
def test_costs(name: str) -> None:
    net, x = build(name), samples(name)
    table = inspect.profile(net, x).set_index("layer")
    seen = net.observe(x)
    layers = table[table["dense_macs"] > 0].drop("total")  # max pools of windows send spikes as well
    assert layers["spikes"].sum() == pytest.approx(float(seen.spikes().double().mean()))
    assert table.loc["total", "latency"] == net.latency
    figures = inspect.neurobench(net, x)
    assert figures["MembraneUpdates"] == pytest.approx(table.loc["total", "updates"])
    assert 0 < figures["ActivationSparsity"] < 1
    assert table.loc["total", "synaptic_operations"] > 0


@SPIKING
def test_chip(name: str) -> None:
    net, x = build(name), samples(name, 40)
    checked = emulator.check(net)
    if not checked.fits:
        assert "MP" in NETS[name]["spec"] and all(finding.remedy for finding in checked.findings)
        return
    for scale in (None, fs.Normalize(0.0, 2.0)):
        net.normalize = None if isinstance(x, SpikeTimes) else scale
        program = emulator.quantize(net, bits=8)
        run = emulator.run(program, x)
        assert (torch.from_numpy(run.predictions) == net(x).argmax(1)).double().mean() > 0.5
    assert emulator.qat.prepare(net)(x).shape == (40, 4)


@EVERY
def test_scaling(name: str) -> None:
    net, x = build(name), samples(name)
    if isinstance(x, SpikeTimes):
        return
    plain, scale = copy.deepcopy(net), fs.Normalize(-0.5, 2.0)
    net.normalize = scale
    assert torch.equal(net(x), plain(scale(x))) and "normalize.mean" in net.state_dict()
    assert torch.equal(copy.deepcopy(net)(x), net(x))


@EVERY
def test_trained_on_standardized_data(name: str, tmp_path: Path) -> None:
    """Features that are far from [0, 1] train as those that lie there; the scaling is in the net, its file and its program."""
    if NETS.get(name, {}).get("encoder") == "spikes":
        return
    options = dict(RELUS.get(name, NETS.get(name, {})))
    if name in RELUS:
        options |= {"model": "relu", "timing": "windowed" if options.pop("normalization", False) else "step"}
    digits = data.load("digits", train=True).subset(slice(0, 400))
    far = data.from_arrays(digits.images.float() / 255 * 52 - 25, digits.labels)
    pair = far.subset(slice(0, 300)), far.subset(slice(300, 400))
    options["spec"] = options["spec"].removesuffix("4") + "10"
    config = train.Config(**options, steps=T, epochs=1, batch=30, lr=3e-3, standardize=True)
    result = train.fit(config, datasets=pair, directory=tmp_path, progress=False)
    net: Any = train.load_model(tmp_path)
    x = pair[1].images
    assert torch.equal(net(x), result.model(x))
    plain = copy.deepcopy(net)
    plain.normalize = None
    assert torch.equal(plain(net.normalize(x)), net(x))
    if name in NETS and emulator.check(net).fits:
        run = emulator.run(emulator.quantize(net, first_layer="float"), x)
        assert (torch.from_numpy(run.predictions) == net(x).argmax(1)).double().mean() > 0.5


@SPIKING
def test_a_net_and_its_chain(name: str) -> None:
    net, x = build(name), samples(name)
    assert models.as_net(net) is net
    if isinstance(net.readout, fs.FirstSpike):
        net.readout.overshoot = False  # a chain's readout gets no membrane
    flat = [] if "C3" in net.spec else [nn.Flatten()]
    scale = [] if isinstance(x, SpikeTimes) else [fs.Normalize(0.0, 2.0)]
    chain = nn.Sequential(*scale, *flat, net.encoder, *net.layers, net.readout)
    again = models.as_net(chain, SHAPE)
    net.normalize = scale[0] if scale else None
    assert (again.timing, again.steps, again.input_steps, again.latency) == (net.timing, net.steps, net.input_steps, net.latency)
    assert again.normalize is net.normalize and type(again.encoder) is type(net.encoder)
    torch.testing.assert_close(again(x), net(x))
    assert train.evaluate(chain, (x, torch.zeros(6, dtype=torch.int64))) == train.evaluate(
        again, (x, torch.zeros(6, dtype=torch.int64))
    )


@SPIKING
def test_inference(name: str) -> None:
    net, x = build(name), samples(name)
    if net.timing == "windowed":
        with pytest.raises(TypeError, match="IntegerNet"):
            models.prepare_for_inference(net)
        assert emulator.IntegerNet(emulator.quantize(net))(x).shape == (6, 4)
        return
    assert torch.equal(models.prepare_for_inference(net)(x), net(x))


@SPIKING
def test_values_that_an_encoder_would_clip(name: str) -> None:
    """An encoder of intensities takes [0, 1]; of data scaled by their range, it takes half a range more as the range's ends."""
    net, x = build(name), torch.rand(3, *SHAPE, generator=generator(2))
    if isinstance(net.encoder, nn.Identity | fs.SpikeInput):
        return
    for far in (x - 1, x + 0.5, x.masked_fill(x > 0.9, torch.nan)):
        with pytest.raises(ValueError, match="x"):
            net(far)
    net.normalize = fs.Normalize.to_unit(x * 50 - 25)
    assert torch.equal(
        net(x.clamp(0.01, 0.99) * 60 - 30), net((x.clamp(0.01, 0.99) * 60 - 30).clamp((x * 50 - 25).min(), (x * 50 - 25).max()))
    )
    with pytest.raises(ValueError, match="images"):
        net(x * 50 - 25 + 40)


@SPIKING
def test_inputs_that_do_not_fit(name: str) -> None:
    net, x = build(name), samples(name)
    wrong: list[Any] = [x[:, :, :5], x[:0].reshape(0, 3, 8, 8)]
    for case in wrong:
        with pytest.raises(ValueError, match="x must have shape"):
            net(case)
    assert net(x[:0]).shape == (0, 4)
    if not isinstance(x, SpikeTimes):
        with pytest.raises(TypeError, match="x must be float32"):
            net(x.double())


def test_parts_that_do_not_fit() -> None:
    step, windowed = fs.TTFSLinear(5, 4, steps=T), fs.WindowedLinear(5, 4, steps=T)
    shared: dict[str, Any] = {"input_shape": (5,), "encoder": fs.WindowedEncoder(), "readout": fs.WindowedReadout(4, 2)}
    with pytest.raises(ValueError, match="timing"):
        TTFSNet([step], **shared)
    with pytest.raises(ValueError, match="timing"):
        TTFSNet([windowed], **shared | {"readout": fs.FirstSpike()})
    with pytest.raises(ValueError, match="timing"):
        TTFSNet([windowed], **shared | {"encoder": "latency"})
    with pytest.raises(TypeError, match="encoder"):
        TTFSNet([windowed], **shared | {"encoder": 3})
    assert TTFSNet([], **shared).latency == 0


def test_meta(tmp_path: Path) -> None:
    for name in NETS:
        with torch.device("meta"):
            net = models.build(input_shape=SHAPE, steps=T, **NETS[name])
        assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
        assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in build(name).state_dict().items()}


@SPIKING
def test_energies_of_the_float_net_are_those_of_its_run(name: str) -> None:
    """But for spikes that rounding changes; layer by layer, in every schedule that the net can have."""
    if "max pool" in name and name.startswith("step"):
        pytest.skip("no chip has these pools")
    net, x = build(name), samples(name, 40)
    ran = emulator.counts(emulator.run(emulator.quantize(net, "generic8", calibration=x), x))
    counted = inspect.counts(net, x)
    steps = ("clocked", "event")
    for schedule in energy.SCHEDULES if net.timing == "windowed" else steps:
        for table in energy.names() if schedule in steps else ("45nm-integer",):
            theirs, ours = (energy.accounts(counts, table, schedule) for counts in (ran, counted))
            assert ours.total == pytest.approx(theirs.total, rel=0.02)
    for partner in ({}, {"skip_zeros": True}, {"bits": 4}):
        assert energy.relu(counted, **partner) == pytest.approx(energy.relu(ran, **partner), rel=0.03)
