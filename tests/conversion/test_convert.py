"""Conversion of trained ReLU nets: accuracy on digits, the limit of many steps, every kind of part, refusals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import firstspike
from firstspike import data, functional, models
from firstspike import nn as fs
from firstspike.conversion.levels import Levels

from ..samples import Refusal, generator, refusals


def block(inputs: int, outputs: int, kernel: int = 3, **how: Any) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **how),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class Basic(nn.Module):
    """A basic block of ResNets."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*block(inputs, outputs, stride=stride), *block(outputs, outputs)[:2])
        self.shortcut = nn.Sequential(*block(inputs, outputs, 1, stride=stride)[:2]) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y += x if self.shortcut is None else self.shortcut(x)
        return F.relu(y, inplace=True)


def shifted(channels: int) -> nn.BatchNorm2d:
    """A batch normalisation that shifts its input."""
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.bias, 0.25)
    return norm


class Keras(nn.Module):
    """What nets from other frameworks have: zeros on one side of a map, a batch normalisation behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU())
        self.body = nn.Sequential(nn.ZeroPad2d((1, 0, 0, 1)), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.BatchNorm2d(8))
        self.middle, self.norm, self.last = nn.Linear(72, 24), nn.BatchNorm1d(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(F.pad(x, (0, 1, 0, 1))))
        return self.last(self.norm(F.relu(self.middle(x.flatten(1)))))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(1, 8), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.Sequential(Basic(8, 8), Basic(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(self.stem(x)).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1))


class Functional(nn.Module):
    """Functions and methods in place of modules; overlapping and unequal averages; a max pool before the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding="same"), nn.Conv2d(16, 16, 3, groups=2)
        self.conv3, self.fc = nn.Conv2d(16, 16, 1), nn.Linear(16 * 9, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(F.max_pool2d(self.conv1(x), 2, stride=1))
        x = F.avg_pool2d(F.relu6(self.conv2(x)), 2, stride=1)
        x = F.relu(self.conv3(x))
        x = F.dropout(F.adaptive_avg_pool2d(x, 3), 0.5, self.training)
        return self.fc(x.view(x.size(0), -1))


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(48, 32), nn.ReLU6(), nn.Linear(32, 10)),
    ),
    "cnn": lambda: nn.Sequential(*block(1, 8), nn.MaxPool2d(2), *block(8, 16), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
    "vgg": lambda: nn.Sequential(
        fs.Normalize(0.3, 0.35),
        *(*block(1, 8), *block(8, 8), nn.MaxPool2d(2), *block(8, 16), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)),
    ),
    "resnet": ResNet,
    "depthwise": lambda: nn.Sequential(
        *(*block(1, 8), *block(8, 8, groups=8), *block(8, 16, 1), *block(16, 16, groups=16, stride=2)),
        *(*block(16, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    ),
    "functional": Functional,
    "keras": Keras,
}


@pytest.fixture(scope="module", params=NETS)
def trained(request: pytest.FixtureRequest) -> nn.Module:
    """A net trained on digits for a few seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, digits = NETS[request.param](), data.load("digits", train=True)
        images, optimizer = digits.images.float() / 255, torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(5):
            for batch in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(net(images[batch]), digits.labels[batch]).backward()
                optimizer.step()
    return net.eval()


@torch.no_grad()
def test_digits(trained: nn.Module) -> None:
    """At 64 steps 0.5 points are lost at most, and the scores approach those of the ReLU net with the steps."""
    parts = [data.load("digits", train=train) for train in (True, False)]
    digits, labels = torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    test, errors = digits.float() / 255, []
    expected = trained(test)
    hits = (expected.argmax(1) == labels).double().mean()
    assert hits > 0.7
    for steps in (4, 16, 64, 255):
        net = firstspike.convert(trained, digits[:400] / 255, steps)
        scores = net(digits)
        torch.testing.assert_close(net(test), scores)
        errors.append(float((scores - expected).norm() / expected.norm()))
        assert steps < 64 or (scores.argmax(1) == labels).double().mean() >= hits - 0.005
        assert len(net.report) == sum(hasattr(m, "clip") for m in net.modules())
        assert (net.report["rounding"] < 1 / steps**0.5).all() and net.report.attrs["agreement"] > (0.8 if steps < 16 else 0.97)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.03


@torch.no_grad()
def test_scaled_images_steps_and_the_module_itself() -> None:
    """Images of another range, with borders of their zero; steps per layer; the module is as it was."""
    net = nn.Sequential(*block(2, 5), *block(5, 4), nn.Flatten(), nn.Linear(4 * 30, 3))
    images = torch.randn(60, 2, 5, 6, generator=generator(0)) * 3
    net.train()(images)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    made = firstspike.convert(net, images, [200, 255])
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    expected = net.eval()(images)
    assert (made(images) - expected).norm() < 0.03 * expected.norm()
    assert made.report["steps"].tolist() == [200, 255] and made.report["layer"].tolist() == ["0", "3"]


@torch.no_grad()
def test_clips_come_from_sites_of_all_columns() -> None:
    """A smoothing convolution whose border columns have smaller values, and as many values that one in 32 is kept."""
    smooth = nn.Conv2d(1, 64, 3, padding=1)
    nn.init.constant_(smooth.weight, 1 / 9)
    net = nn.Sequential(smooth, nn.ReLU(), nn.AvgPool2d(16), nn.Flatten(), nn.Linear(256, 2)).eval()
    images = torch.rand(256, 1, 32, 32, generator=generator(0))
    made = firstspike.convert(net, images, 255)
    assert float((net[:2](images[:50]) > made.layers[0].clip.view(-1, 1, 1)).double().mean()) < 0.01


@torch.no_grad()
def test_means_are_those_of_the_relu_net(trained: nn.Module) -> None:
    images = data.load("digits", train=True).images.float()[:400] / 255
    expected, net = trained(images), firstspike.convert(trained, images, 4)
    torch.testing.assert_close(net(images).mean(0), expected.mean(0), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("n", [0, 1])
def test_a_shifted_bias_brings_the_means_of_its_layer_nearer(n: int) -> None:
    draw = generator(3)
    relu = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5))
    for parameter in relu.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5)
    images = torch.rand(500, 12, generator=draw)
    net, expected = firstspike.convert(relu, images, 4), relu[: 2 * n + 2](images).mean(0)
    layer: Any = net.layers[n]

    def error() -> float:
        values = functional.windowed_values(net.observe(images).layers[n]) * layer.clip
        return float((values.mean(0) - expected).norm())

    shifted = error()
    layer.bias.copy_(relu[2 * n].bias)
    assert shifted < 0.5 * error()


@torch.no_grad()
@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_clips_are_of_what_a_max_pool_keeps(relu: Callable[[], nn.Module]) -> None:
    """With the pool before or behind the ReLU, the values are as well met, and ReLU6 ends at 6 in both."""
    convolution, last = nn.Conv2d(1, 6, 3), nn.Linear(6 * 9, 4)
    nn.init.uniform_(convolution.weight, -2, 4, generator=generator(1))
    nn.init.uniform_(last.weight, -0.1, 0.2, generator=generator(3))
    for layer in (convolution, last):
        nn.init.zeros_(layer.bias)
    images = torch.rand(300, 1, 8, 8, generator=generator(2))
    before, behind = ([nn.MaxPool2d(2), relu()], [relu(), nn.MaxPool2d(2)])
    for pair in (before, behind):
        net = nn.Sequential(convolution, *pair, nn.Flatten(), last)
        made, expected = firstspike.convert(net, images, 32), net(images)
        largest = net[:3](images).amax((0, 2, 3))
        assert (made.layers[0].clip > 0.8 * largest).all() and (made.layers[0].clip <= largest).all()
        assert (made(images) - expected).norm() < 0.02 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_float_types_are_read_in_float32(dtype: torch.dtype) -> None:
    module, images = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype), torch.rand(20, 6).to(dtype)
    expected = firstspike.convert(copy.deepcopy(module).float(), images.float())(images.float())
    assert torch.equal(firstspike.convert(module, images)(images.float()), expected)
    assert module[0].weight.dtype == dtype


@pytest.mark.parametrize("n", [0, 2, 4])
def test_numbers_that_are_not_finite_are_refused_with_their_layer(n: int) -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    module[n].weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match=f"cannot be converted: {n} gives NaN or infinity"):
        firstspike.convert(module, torch.rand(20, 6))


def test_relu_counterpart() -> None:
    net = models.relu_counterpart("8C3-AP2-16-10", input_shape=(1, 8, 8), generator=generator(0))
    images = data.load("digits", train=True).images[:100]
    net.normalize = fs.Normalize.of(images)
    expected = net(images)
    assert (firstspike.convert(net, images, 255)(images) - expected).norm() < 0.03 * expected.norm()


class Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1) if x.sum() > 0 else x


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x) + x)


def sequential(*layers: nn.Module) -> Callable[[], Any]:
    return lambda: firstspike.convert(nn.Sequential(*layers), torch.rand(4, 6))


def of_maps(*layers: nn.Module, shift: float = 0.0) -> Callable[[], Any]:
    images = torch.rand(4, 1, 6, 6) - shift
    return lambda: firstspike.convert(nn.Sequential(*layers), images)


class Other(nn.Module):
    """A net with another end, or a decision."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end, self.first, self.last = end, nn.Linear(6, 4), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Any:
        values = F.relu(self.first(x))
        if self.end == "decision" and values.sum() > 0:  # here
            values = values + 1
        scores = self.last(values[:, :2] if self.end != "chunk" else values.chunk(2, 1)[0])
        return {"dict": {"scores": scores}, "two": (scores, values)}.get(self.end, scores)


BAD: dict[str, Refusal] = {
    "a dictionary": (lambda: firstspike.convert(Other("dict"), torch.rand(4, 6)), ValueError, "is a dict, .*return the scores"),
    "several outputs": (
        lambda: firstspike.convert(Other("two"), torch.rand(4, 6)),
        ValueError,
        "is a tuple, .*the scores",
    ),
    "a decision": (
        lambda: firstspike.convert(Other("decision"), torch.rand(4, 6)),
        TypeError,
        "line .*test_convert.py .*decision.*# here",
    ),
    "a part of the channels": (lambda: firstspike.convert(Other("chunk"), torch.rand(4, 6)), ValueError, "calls chunk"),
    "a curve": (
        lambda: firstspike.convert(nn.Sequential(nn.Linear(6, 3), nn.SiLU(), nn.Linear(3, 3)), torch.rand(4, 6)),
        ValueError,
        "1 is a SiLU; only ReLU",
    ),
    "signals": (
        lambda: firstspike.convert(nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Flatten()), torch.rand(4, 1, 6)),
        ValueError,
        "one row",
    ),
    "module": (lambda: firstspike.convert(F.relu, torch.rand(4, 6)), TypeError, "module"),
    "images": (lambda: firstspike.convert(nn.Linear(6, 3), torch.rand(6)), ValueError, "images"),
    "NaN": (lambda: firstspike.convert(nn.Linear(6, 3), torch.full((2, 6), torch.nan)), ValueError, "images"),
    "steps": (
        lambda: firstspike.convert(nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3)), torch.rand(4, 6), 256),
        ValueError,
        "steps.*256",
    ),
    "steps per layer": (
        lambda: firstspike.convert(nn.Sequential(nn.Linear(6, 3)), torch.rand(4, 6), [4]),
        ValueError,
        "steps.*0",
    ),
    "not traceable": (sequential(Softmax()), TypeError, "module"),
    "activation": (sequential(nn.Linear(6, 3), nn.GELU(), nn.Linear(3, 3)), ValueError, "1 is a GELU"),
    "no ReLU": (sequential(nn.Linear(6, 3), nn.Linear(3, 3)), ValueError, "1 follows 0 without"),
    "softmax": (sequential(nn.Linear(6, 3), nn.Softmax(1)), ValueError, "1 is a Softmax"),
    "no scores": (sequential(nn.Linear(6, 3), nn.ReLU(), nn.BatchNorm1d(3)), ValueError, "is not a Linear"),
    "ReLU before the addition": (sequential(Twice()), ValueError, "add"),
    "normalisation before a padding": (
        of_maps(nn.Conv2d(1, 2, 3), nn.ReLU(), shifted(2), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()),
        ValueError,
        "3 pads the output of a batch normalisation",
    ),
    "reflecting padding": (of_maps(nn.ReflectionPad2d(1), nn.Conv2d(1, 2, 3), nn.ReLU()), ValueError, "ReflectionPad2d"),
    "dilation": (of_maps(nn.Conv2d(1, 2, 3, dilation=2), nn.ReLU()), ValueError, "0 is dilated"),
    "average before a ReLU": (of_maps(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.ReLU()), ValueError, "1 averages"),
    "unequal windows": (
        of_maps(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Conv2d(2, 2, 3)),
        ValueError,
        "_2 is an average",
    ),
    "ragged max pool": (of_maps(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)), ValueError, "2 is"),
    "pools before a border": (of_maps(nn.AvgPool2d(2), nn.Conv2d(1, 2, 3, padding=1), shift=0.5), ValueError, "1 pads"),
    "images of another size": (lambda: firstspike.convert(nn.Linear(6, 3), torch.rand(9, 5)), ValueError, "images must be"),
    "images of another shape": (
        lambda: firstspike.convert(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(9, 6)),
        ValueError,
        "images must be",
    ),
    "rows": (of_maps(nn.Linear(6, 3)), ValueError, "0 is applied"),
}

test_refusals = refusals(**BAD)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_part_is_named() -> None:
    net = nn.Sequential(torch.jit.script(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="0 is a ScriptModule; give the module that was scripted"):
        firstspike.convert(net, torch.rand(4, 6))


@torch.no_grad()
def test_a_net_that_ends_in_a_relu() -> None:
    net = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 4), nn.ReLU())
    for parameter in net.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator(1)))
    images = torch.rand(200, 6, generator=generator(0))
    made = firstspike.convert(net, images, 64)
    assert made.report["steps"].tolist() == [64, 255]
    assert (made(images) - net(images)).norm() < 0.03 * net(images).norm()


@torch.no_grad()
def test_a_net_keeps_the_range_of_its_images() -> None:
    """Pixels of 8 bits count as p / 255, so a net for numbers up to 255 refuses them, and convert does not guess."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    pixels = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8, generator=generator(0))
    with pytest.raises(ValueError, match="images must be floats"):
        firstspike.convert(net, pixels)
    wide = firstspike.convert(net, pixels.float(), 255)
    assert (wide(pixels.float()) - net(pixels.float())).norm() < 0.03 * net(pixels.float()).norm()
    with pytest.raises(ValueError, match="floats up to"):
        wide(pixels)
    unit = firstspike.convert(net, pixels / 255, 255)
    torch.testing.assert_close(unit(pixels), unit(pixels / 255))


def test_signals_of_one_dimension_become_maps_of_one_row() -> None:
    """Levels of a net with quantised activations, of signals with both signs: the offset is in the first bias."""
    torch.manual_seed(0)
    net = nn.Sequential(
        Levels(torch.tensor([0.05]), -64, 63),
        nn.Conv1d(2, 6, 5, stride=2, padding=2),
        nn.BatchNorm1d(6),
        Levels(torch.tensor([0.2]), 0, 15),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 8, 3, padding="same", groups=2),
        Levels(torch.tensor([0.1]), 0, 15),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 7),
        nn.BatchNorm1d(7),
        Levels(torch.tensor([0.1]), 0, 7),
        nn.Linear(7, 4),
    )
    x = torch.randn(60, 2, 40)
    net(x)
    converted = firstspike.convert(net.eval(), x)
    assert converted.report.attrs["exact"] and converted.input_shape == (2, 1, 40)
    unlike = (converted(x.unsqueeze(2)) - net(x)).abs().amax(1) > 1e-5
    assert unlike.float().mean() < 0.1  # a tie in float32
