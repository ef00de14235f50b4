"""A shortcut into a layer's current, and thresholds per output: times and all gradients against the float64 reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, nn, reference
from firstspike.surrogate import atan, rectangle, triangle

from ..compare import CLEAR, same_on_threads
from ..samples import generator, grid

STEPS = 6
# Shapes of the input, the weight and the shortcut; further arguments.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "linear": ((3, 20), (11, 20), (3, 11), {}),
    "linear, fewer": ((3, 20), (70, 20), (3, 64), {}),
    "linear, map": ((3, 2, 3, 4), (11, 24), (3, 11), {}),
    "conv": ((2, 5, 6, 5), (7, 5, 3, 3), (2, 7, 6, 5), {"padding": 1}),
    "conv, full groups": ((2, 64, 4, 4), (64, 64, 3, 3), (2, 64, 4, 4), {"padding": 1}),
    "conv, shortcut first": ((2, 5, 4, 4), (64, 5, 3, 3), (2, 64, 4, 4), {"padding": 1}),
    "conv, rectangular": ((2, 5, 6, 5), (7, 5, 3, 1), (2, 7, 6, 5), {"padding": (1, 0)}),
    "conv, no padding": ((2, 5, 6, 5), (7, 5, 3, 3), (2, 7, 4, 3), {}),
    "conv, strided": ((2, 5, 6, 6), (7, 5, 3, 3), (2, 5, 6, 6), {"padding": 1, "stride": 2}),
    "conv, strided, odd": ((2, 5, 7, 5), (7, 5, 3, 3), (2, 5, 7, 5), {"padding": 1, "stride": 2}),
    "conv, strided, small shortcut": ((2, 5, 6, 5), (7, 5, 3, 3), (2, 4, 3, 3), {"padding": 1, "stride": 2}),
    "conv, pooled": ((2, 5, 7, 6), (7, 5, 3, 3), (2, 7, 3, 3), {"padding": 1, "avg_pool": 2}),
}


def arguments(name: str, scales: int | None, learn: bool = True) -> dict[str, Tensor]:
    """Tensors on a coarse grid, so that float32 makes no rounding error in the membrane."""
    inputs, weight, shortcut, _ = CASES[name]
    g = generator(0)
    made = {
        "current": grid(inputs, 0.3, g).abs(),
        "side": grid(shortcut, 0.3, g).abs(),
        "weight": grid(weight, 2 / torch.Size(weight[1:]).numel() ** 0.5, g),
        "bias": grid(weight[:1], 0.1, g),
        "scale": grid((scales or 1,), 0.3, g).abs() + 0.25,
        "threshold": torch.randint(2, 5, weight[:1], generator=g) / 4,
    }
    return {key: value.requires_grad_(learn) for key, value in made.items()}


def run(f: Any, name: str, x: dict[str, Tensor], options: dict[str, Any], per_output: bool, scaled: bool) -> Any:
    spikes, shortcut = (f.ramp(x[key], STEPS, surrogate=triangle(3.0)) for key in ("current", "side"))
    layer = f.linear if x["weight"].dim() == 2 else f.conv2d
    more = {"shortcut_scale": x["scale"]} if scaled else {}
    threshold = {"threshold": x["threshold"]} if per_output else {}
    return layer(spikes, x["weight"], x["bias"], shortcut=shortcut, **CASES[name][3], **options, **more, **threshold)


@pytest.mark.parametrize("surrogate", [triangle(2.5), rectangle(1.7), atan()], ids=lambda s: s.kind)
@pytest.mark.parametrize(("per_output", "synaptic_decay"), [(False, 0.0), (True, 0.0), (False, 1.0), (True, 0.5)])
@pytest.mark.parametrize("name", CASES)
def test_shortcut(name: str, per_output: bool, synaptic_decay: float, surrogate: Any) -> None:
    scales = CASES[name][2][1] if per_output else None
    x = arguments(name, scales)
    counterparts = {key: value.detach().double().requires_grad_() for key, value in x.items()}
    options = {"surrogate": surrogate, "synaptic_decay": synaptic_decay}
    got = run(functional, name, x, options, per_output, True)
    expected = run(reference, name, counterparts, options, per_output, True)
    margins = reference.margin(
        *_currents(name, counterparts, per_output),
        levels=(0.0, -surrogate.half_width, surrogate.half_width),
        synaptic_decay=synaptic_decay,
    )
    clear = margins > CLEAR
    assert clear.double().mean() > 0.8 and (expected.times[clear] == got.times[clear]).all()
    gradient = torch.randn(expected.dense().shape, generator=generator(5), dtype=torch.float64) * clear
    wanted = [key for key in x if key != "threshold" or per_output]
    ours = torch.autograd.grad(got.dense(), [x[key] for key in wanted], gradient.float())
    theirs = torch.autograd.grad(expected.dense(), [counterparts[key] for key in wanted], gradient)
    for key, a, b in zip(wanted, ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}")


def _currents(name: str, x: dict[str, Tensor], per_output: bool) -> tuple[Tensor]:
    """The current of the float64 reference, in units of the threshold."""
    with torch.no_grad():
        seen: list[Tensor] = []
        fire = reference.fire
        try:
            reference.fire = lambda current, **options: seen.append(current) or fire(current, **options)  # type: ignore
            run(reference, name, x, {}, per_output, True)
        finally:
            reference.fire = fire
    return (seen[-1],)


@pytest.mark.parametrize("name", ["linear", "conv", "conv, strided"])
def test_without_a_gradient_and_with_numbers(name: str) -> None:
    x = arguments(name, None, learn=False)
    one = run(functional, name, x, {}, False, False)
    expected = run(reference, name, {k: v.double() for k, v in x.items()}, {}, False, False)
    assert torch.equal(one.times, expected.times) and not one.requires_grad
    scaled = dict(x, scale=torch.ones(1))
    assert torch.equal(run(functional, name, scaled, {}, False, True).times, one.times)


def composed(f: Any, *arguments: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a function gives where no kernel adds shortcuts: the layer on both trains, as on CUDA."""
    with monkeypatch.context() as patch:
        patch.setattr(functional.layer, "FUSED_SHORTCUTS", ())
        return f(*arguments)


@pytest.mark.parametrize(("decay", "synaptic_decay"), [(1.0, 0.0), (0.75, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("name", CASES)
def test_as_a_layer_on_both_trains(name: str, decay: float, synaptic_decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = arguments(name, CASES[name][2][1])
    options = {"surrogate": triangle(2.5), "decay": decay, "synaptic_decay": synaptic_decay}
    one = run(functional, name, x, options, False, True)
    other = composed(run, functional, name, x, options, False, True, monkeypatch=monkeypatch)
    assert torch.equal(one.times, other.times)
    wanted = [key for key in x if key != "threshold"]
    gradient = torch.randn(one.dense().shape, generator=generator(3))
    ours, theirs = (torch.autograd.grad(y.dense(), [x[key] for key in wanted], gradient) for y in (one, other))
    for key, a, b in zip(wanted, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("synaptic_decay", [0.0, 0.5])
@pytest.mark.parametrize("name", ["linear, fewer", "conv, strided", "conv, full groups"])
def test_the_number_of_threads_changes_no_bit(name: str, synaptic_decay: float) -> None:
    def results() -> list[Tensor]:
        x = arguments(name, CASES[name][2][1])
        out = run(functional, name, x, {"decay": 0.9, "synaptic_decay": synaptic_decay}, True, True)
        gradient = torch.randn(out.dense().shape, generator=generator(3))
        return [out.times, *torch.autograd.grad(out.dense(), list(x.values()), gradient)]

    same_on_threads(results, (1, 5))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_without_a_finite_value(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts where the shortcut fires, from that step on, and nowhere else."""
    x = arguments("conv, no padding", CASES["conv, no padding"][2][1], learn=False)
    x["scale"][::2] = value
    one = run(functional, "conv, no padding", x, {}, False, True)
    assert torch.equal(
        one.times, composed(run, functional, "conv, no padding", x, {}, False, True, monkeypatch=monkeypatch).times
    )
    side = functional.ramp(x["side"], STEPS).times
    before = (one.times <= side) & (one.times != 255)
    assert before[:, ::2].any()


def test_over_many_steps_without_spikes_of_the_input() -> None:
    """The steps that a neuron sleeps through end where its shortcut fires."""
    spikes = SpikeTimes(torch.full((2, 5), 255, dtype=torch.uint8), 100)
    shortcut = SpikeTimes(torch.tensor([[3, 255, 77], [99, 20, 21]], dtype=torch.uint8), 100)
    out = functional.linear(spikes, torch.zeros(3, 5), torch.full((3,), 0.001), shortcut=shortcut)
    assert torch.equal(out.times, shortcut.times)


@pytest.mark.parametrize("scale", [0.5, torch.tensor(0.5), torch.full((4,), 0.5), torch.full((7,), 0.5)], ids=str)
def test_a_shortcut_of_fewer_channels_into_a_layer_with_a_threshold_per_output(scale: Any) -> None:
    theta = torch.linspace(0.5, 1.5, 7)
    layer = nn.TTFSLinear(20, 7, steps=8, threshold=theta, generator=generator(0))
    spikes, shortcut = (SpikeTimes(torch.randint(0, 8, (5, n), dtype=torch.uint8), 8) for n in (20, 4))
    expected = functional.linear(
        spikes, layer.weight, layer.bias, threshold=theta, shortcut=shortcut, shortcut_scale=0.5, **_neuron(layer)
    )
    assert torch.equal(layer(spikes, shortcut, shortcut_scale=scale).times, expected.times)
    for size in (3, 8):
        with pytest.raises(ValueError, match=r"shortcut_scale must be a number, \[4\]"):
            layer(spikes, shortcut, shortcut_scale=torch.ones(size))


def _neuron(layer: nn.TTFSLinear) -> dict[str, Any]:
    return {"decay": layer.decay, "surrogate": layer.surrogate}
