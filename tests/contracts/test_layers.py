"""Every layer class of both timings: sizes, settings, fold, quantizer, pruning, dropout, copies."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrize, prune

from firstspike import SpikeTimes, functional, nn

from ..samples import generator, spike_times

FLAT, MAP = (6, 32), (6, 4, 5, 6)


class Case(NamedTuple):
    """A layer class, sizes by name, the shape of its input, and its exactness after folding."""

    kind: Any
    sizes: dict[str, Any]
    shape: tuple[int, ...]
    options: dict[str, Any] = {}  # noqa: RUF012

    @property
    def windowed(self) -> bool:
        return "Windowed" in self.kind.__name__

    @property
    def drops(self) -> bool:
        return "dropout" in inspect.signature(self.kind).parameters

    def layer(self, seed: int = 0, **options: Any) -> Any:
        """A layer with parameters and statistics that are not the first ones, in evaluation."""
        arguments = {"generator": generator(seed)} | self.sizes | self.options | options
        layer = self.kind(**arguments)
        g = generator(seed + 1)
        with torch.no_grad():
            for name in ("bias", "gamma"):
                if getattr(layer, name, None) is not None:
                    getattr(layer, name).uniform_(0.5, 0.9, generator=g)
            if getattr(layer, "running", None) is not None:
                layer.running[0].uniform_(-0.1, 0.1, generator=g)
                layer.running[1].uniform_(0.5, 1.0, generator=g)
        return layer.eval()

    def input(self) -> Any:
        """Values of directly coded layers, else spikes."""
        if "Direct" in self.kind.__name__:
            return torch.rand(self.shape, generator=generator(2))
        return SpikeTimes(spike_times(self.shape, 8, "mixed", generator(2)), 8)


FEATURES = {"in_features": 32, "out_features": 7}
CHANNELS = {"in_channels": 4, "out_channels": 8, "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}
CASES = [
    Case(nn.TTFSLinear, FEATURES, FLAT, {"steps": 8}),
    Case(nn.TTFSConv2d, CHANNELS, MAP, {"steps": 8}),
    Case(nn.Integrate, FEATURES, FLAT, {"steps": 8}),
    Case(nn.DirectLinear, FEATURES, FLAT, {"steps": 8}),
    Case(nn.DirectConv2d, CHANNELS, MAP, {"steps": 8}),
    Case(nn.WindowedLinear, FEATURES, FLAT, {"steps": 16}),
    Case(nn.WindowedConv2d, CHANNELS | {"groups": 2}, MAP, {"steps": 16}),
    Case(nn.WindowedAvgPool2d, {"channels": 4, "kernel_size": (2, 3)}, MAP, {"steps": 16}),
    Case(nn.WindowedReadout, FEATURES, FLAT),
    Case(nn.WindowedShortcut, {"in_channels": 4, "out_channels": 8, "stride": (2, 1)}, MAP),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)
spiking = pytest.mark.parametrize("case", [case for case in CASES if case.drops], ids=lambda case: case.kind.__name__)


def values(output: Any) -> Tensor:
    """An output as floats."""
    return output.times.float() if isinstance(output, SpikeTimes) else output


def agree(case: Case, output: Any, expected: Any) -> None:
    """Equal to the bit, or up to rounding in windowed layers, in which a rounded time may change by a step."""
    if case.windowed:
        assert ((values(output) - values(expected)).abs() > 1e-4).float().mean() < 0.02
    else:
        assert torch.equal(values(output), values(expected))


class Halve(torch.nn.Module):
    """A quantizer."""

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight / 2, None if bias is None else bias / 2


class Negate(torch.nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return -weight


def test_the_table_holds_every_layer() -> None:
    public = {kind for kind in vars(nn).values() if inspect.isclass(kind) and issubclass(kind, nn.Synapses)}
    assert public - {nn.Synapses, nn.FiringLayer} == {case.kind for case in CASES}


@every
def test_sizes_timing_and_neuron(case: Case) -> None:
    layer = case.layer()
    for name, value in case.sizes.items():
        assert getattr(layer, name) == value
    (outputs,) = (case.sizes[name] for name in ("out_features", "out_channels", "channels") if name in case.sizes)
    assert len(layer.weight) == outputs and layer.fan_in == layer.weight[0].numel()
    if layer.weight.dim() == 4:
        assert layer.kernel_size == tuple(layer.weight.shape[2:]) and layer.in_channels == layer.weight.shape[1] * layer.groups
        assert len(layer.stride) == len(layer.padding) == 2
    assert layer.avg_pool == 1 and layer.dropout == 0
    assert layer.timing == ("windowed" if case.windowed else "step")
    output = layer(case.input())
    assert layer.fires == isinstance(output, SpikeTimes) and len(values(output)) in (case.shape[0], 8)
    if layer.fires:
        assert layer.steps == output.steps == case.options["steps"]
        assert isinstance(layer.neuron, tuple) and set(layer.neuron._fields) > {"clip" if case.windowed else "threshold"}


@every
@pytest.mark.parametrize("options", [{}, {"avg_pool": 2, "dropout": 0.25}, {"normalization": True}, {"normalization": False}])
def test_settings_build_the_layer_again(case: Case, options: dict[str, Any]) -> None:
    options = {name: value for name, value in options.items() if name in inspect.signature(case.kind).parameters}
    layer = case.layer(**options)
    settings = layer.settings()
    again = case.kind(**settings)
    assert again.settings() == settings and repr(again) == repr(layer)
    assert {n: p.shape for n, p in again.state_dict().items()} == {n: p.shape for n, p in layer.state_dict().items()}
    assert set(options) <= set(settings) and all(settings[name] == value for name, value in options.items())
    x = case.input()
    if "avg_pool" not in options:
        again.load_state_dict(layer.state_dict())
        assert torch.equal(values(again.eval()(x)), values(layer(x)))


@every
def test_settings_keep_other_options(case: Case) -> None:
    if "threshold" in inspect.signature(case.kind).parameters:
        layer = case.layer(threshold=torch.nn.Parameter(torch.ones(case.sizes.get("out_features", 8))), decay=0.9)
    elif "momentum" in inspect.signature(case.kind).parameters:
        layer = case.layer(clip_per_channel=True, momentum=0.2, eps=1e-3)
    else:
        layer = case.layer()
    again = case.kind(**layer.settings())
    assert again.settings() == layer.settings()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(values(again.eval()(case.input())), values(layer(case.input())))


@every
@pytest.mark.parametrize("change", ["nothing", "normalization", "quantizer", "pruning", "parametrization", "frozen"])
def test_folding(case: Case, change: str) -> None:
    normal = "normalization" in inspect.signature(case.kind).parameters
    layer = case.layer(**({"normalization": change == "normalization"} if normal else {}))
    if change == "quantizer":
        layer.quantizer = Halve()
    elif change == "pruning":
        prune.random_unstructured(layer, "weight", 0.5)
    elif change == "parametrization":
        parametrize.register_parametrization(layer, "weight", Negate())
    elif change == "frozen":
        layer.requires_grad_(False)
    expected = layer(case.input())
    assert layer.fold() is layer
    agree(case, layer(case.input()), expected)
    assert type(layer) is case.kind and layer.quantizer is None and not layer._forward_pre_hooks and not list(layer.children())
    assert getattr(layer, "gamma", None) is None and getattr(layer, "running", None) is None
    assert not getattr(layer, "normalization", None)
    weights = [p for p in (layer.weight, layer.bias) if p is not None]
    trained = change != "frozen" and case.kind is not nn.WindowedAvgPool2d
    assert all(isinstance(p, torch.nn.Parameter) and p.requires_grad == trained for p in weights)
    assert set(layer.state_dict()) <= {"weight", "bias", "clip"}
    again = copy.deepcopy(layer).fold()
    assert torch.equal(values(again(case.input())), values(layer(case.input())))


@every
def test_a_quantizer_changes_what_acts(case: Case) -> None:
    layer = case.layer()
    weight, bias = layer.effective_weight_and_bias()
    layer.quantizer = Halve()
    halved, half = layer.effective_weight_and_bias()
    torch.testing.assert_close(halved, weight / 2)
    assert (half is None) == (bias is None)
    assert "quantizer" in dict(layer.named_modules()) and layer(case.input()) is not None


@every
def test_pruning_acts(case: Case) -> None:
    layer = case.layer()
    prune.random_unstructured(layer, "weight", amount=1.0)
    assert not layer.effective_weight_and_bias()[0].any()
    output = values(layer(case.input()))
    without = case.layer()
    with torch.no_grad():
        without.weight.zero_()
        torch.testing.assert_close(output, values(without(case.input())))


@spiking
def test_dropout_from_a_seed_in_training_alone(case: Case) -> None:
    layer, x = case.layer(dropout=0.5), case.input()
    assert torch.equal(values(layer(x)), values(case.layer()(x)))
    layer.train()

    def seeded(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return values(layer(x))

    first = seeded(0)
    assert torch.equal(seeded(0), first) and not torch.equal(seeded(1), first)
    assert not torch.equal(first, values(case.layer().train()(x)))
    layer.dropout = 0.0
    assert torch.equal(seeded(0), values(case.layer().train()(x)))


@spiking
def test_dropout_keeps_the_mean_current_and_drops_in_the_gradient(case: Case) -> None:
    layer = case.layer(dropout=0.5).train()
    spikes = SpikeTimes(torch.zeros(case.shape, dtype=torch.uint8), 8)
    left, weight = layer.drop(spikes, layer.weight)
    assert torch.equal(weight, 2 * layer.weight)
    assert 0.4 < left.count().sum() / spikes.times.numel() < 0.6


@pytest.mark.parametrize("case", [case for case in CASES if "Direct" in case.kind.__name__], ids=lambda case: case.kind.__name__)
def test_layers_of_data_neither_pool_nor_drop(case: Case) -> None:
    for option in ({"dropout": 0.5}, {"avg_pool": 2}):
        with pytest.raises(TypeError):
            case.layer(**option)
    with pytest.raises(ValueError, match="dropout"):
        case.layer().dropout = 0.5


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": lambda layer: _through_torch(layer),
    "state dict": lambda layer: _through_state(layer),
}


def _through_torch(layer: Any) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _through_state(layer: Any) -> Any:
    again = type(layer)(**layer.settings())
    again.load_state_dict(layer.state_dict())
    return again.eval()


@every
@pytest.mark.parametrize("way", COPIES)
def test_copies_compute_the_same(case: Case, way: str) -> None:
    layer = case.layer()
    again = COPIES[way](layer)
    assert torch.equal(values(again(case.input())), values(layer(case.input())))
    assert list(again.state_dict()) == list(layer.state_dict())
    with torch.no_grad():
        again.weight.zero_()
    assert layer.weight.any()


@every
def test_on_the_meta_device(case: Case) -> None:
    with torch.device("meta"):
        layer = case.kind(**{**case.sizes, **case.options})
    assert all(x.is_meta for x in layer.state_dict().values())
    x = case.input()
    x = x.to("meta")
    output, expected = layer.eval()(x), case.layer()(case.input())
    assert output.shape == expected.shape
    assert next(iter(case.sizes)) in repr(layer)
    layer.to_empty(device="cpu").load_state_dict(case.layer().state_dict())
    assert torch.equal(values(layer(case.input())), values(expected))


@every
def test_every_weight_gets_a_gradient(case: Case) -> None:
    layer = case.layer(**({"dropout": 0.25} if case.drops else {})).train()
    output = layer(case.input())
    sums = output.dense() if isinstance(output, SpikeTimes) and not output._is_valued() else output
    sums = functional.windowed_values(sums) if isinstance(sums, SpikeTimes) else sums
    sums.backward(torch.randn(sums.shape, generator=generator(5)))
    trained = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    assert trained
    for name, parameter in trained.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def block(windowed: bool, shortcut: bool = False, **options: Any) -> nn.Residual:
    """A block on maps of `MAP` whose layers have normalisation, rounding and thresholds or clips of their own."""
    case = Case(nn.WindowedConv2d if windowed else nn.TTFSConv2d, {}, MAP)
    sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1, "steps": 8}
    layers = [case.layer(seed, **sizes, normalization=True) for seed in (0, 1)]
    if not windowed:
        layers[-1].threshold = torch.linspace(0.5, 1.5, 4)
    beside = nn.WindowedShortcut(4, 4, generator=generator(7)) if shortcut else None
    return nn.Residual(layers, beside, **options).eval()


BLOCKS: dict[str, Callable[[], nn.Residual]] = {
    "step": lambda: block(False, scale=0.7),
    "step, learned scales": lambda: block(False, scale=torch.linspace(0.5, 1.0, 4), learn_scale=True),
    "windowed": lambda: block(True, scale=0.7),
    "windowed, fixed scales": lambda: block(True, scale=torch.linspace(0.5, 1.0, 4), learn_scale=False),
    "windowed, shortcut": lambda: block(True, shortcut=True),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name: str) -> None:
    made = BLOCKS[name]()
    assert made.timing == name.split(",")[0] and made.fires and made.steps == 8
    spikes = SpikeTimes(spike_times(MAP, 8, "mixed", generator(2)), 8)
    expected = made(spikes)
    without = copy.deepcopy(made.layers)
    assert not torch.equal(without[1](without[0](spikes)).times, expected.times)
    for way in (copy.deepcopy, COPIES["pickle"], COPIES["torch.save"]):
        assert torch.equal(way(made)(spikes).times, expected.times)
    settings = made.settings()
    channels = settings.pop("channels", 1)
    again = nn.Residual(copy.deepcopy(made.layers), copy.deepcopy(made.shortcut), scale=torch.ones(channels), **settings)
    assert list(again.state_dict()) == list(made.state_dict()) and again.settings() == made.settings()
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval()(spikes).times, expected.times)
    learned = isinstance(made.scale, torch.nn.Parameter)
    assert made.fold() is made
    assert isinstance(made.scale, torch.nn.Parameter) == learned
    changed = (made(spikes).times != expected.times).float().mean()
    assert changed < 0.02 if "windowed" in name else changed == 0
    assert all(getattr(layer, "running", None) is None and not getattr(layer, "normalization", None) for layer in made.layers)


@pytest.mark.parametrize(
    ("layers", "shortcut", "error"),
    [
        ([], None, ValueError),
        ([torch.nn.Identity()], None, TypeError),
        ([nn.WindowedReadout(3, 3)], None, TypeError),
        ([nn.WindowedLinear(3, 3, steps=4), nn.TTFSLinear(3, 3, steps=4)], None, TypeError),
        ([nn.TTFSConv2d(3, 3, 1, steps=4)], nn.WindowedShortcut(3, 3), TypeError),
        ([nn.WindowedConv2d(3, 3, 1, steps=4)], nn.WindowedConv2d(3, 3, 1, steps=4), TypeError),
    ],
    ids=str,
)
def test_blocks_refuse(layers: list[torch.nn.Module], shortcut: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="layers|shortcut"):
        nn.Residual(layers, shortcut)
