"""`nn.Residual` and the grammar's R(...): sizes, what it computes, that it trains, is saved and prepared for inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import firstspike as fs
from firstspike import SpikeTimes, emulator, encode, functional, models, nn

from ..samples import generator, spike_times

STEPS = 6
SPECS = ["4C3-R(6C3-8C3)-AP2-R(8C3s2-8C3x1)-12-R(12-12)-3", "4C3s2-R(4C3)-10-3", "5C3-AP2-R(5C3-5C3)-EP2-3"]


def block(scale: float | torch.Tensor = 0.5, **options: Any) -> nn.Residual:
    return nn.Residual(
        [
            nn.TTFSConv2d(5, 8, 3, padding=1, steps=STEPS, normalization=True, generator=generator(0)),
            nn.TTFSConv2d(8, 5, (1, 3), padding=(0, 1), steps=STEPS, generator=generator(1)),
        ],
        scale=scale,
        **options,
    )


def maps() -> SpikeTimes:
    return SpikeTimes(spike_times((3, 5, 4, 6), STEPS, "mixed", generator(2)), STEPS)


def test_the_last_layer_gets_the_input_too() -> None:
    made, spikes = block(), maps()
    hidden = made.layers[0](spikes)
    weight, bias = made.layers[1].effective_weight_and_bias()
    current = torch.nn.functional.conv2d(hidden.dense().flatten(0, 1), weight, bias, padding=(0, 1)).unflatten(0, (STEPS, 3))
    expected = functional.fire(current + 0.5 * spikes.dense())
    assert torch.equal(made(spikes).dense(), expected)
    assert "scale=0.5" in repr(made) and list(made.state_dict())[-0] == "scale"


def test_a_scale_that_learns() -> None:
    made = block(learn_scale=True)
    made(maps()).dense().sum().backward()
    assert made.scale.grad is not None and made.scale.grad.abs() > 0


def test_a_scale_per_channel(tmp_path: Path) -> None:
    scale, spikes = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]), maps()
    made = block(scale)
    hidden = made.layers[0](spikes)
    assert torch.equal(made(spikes).times, made.layers[1](hidden, spikes, shortcut_scale=scale).times)
    assert "scale=[5]" in repr(made)
    net = torch.nn.Sequential(block(scale, learn_scale=True))
    fs.save(net, tmp_path / "block")
    loaded = fs.load(tmp_path / "block")
    assert torch.equal(loaded(spikes).times, made(spikes).times) and isinstance(loaded[0].scale, torch.nn.Parameter)


@pytest.mark.parametrize("learn_scale", [False, True])
def test_folding_thresholds_per_neuron(learn_scale: bool) -> None:
    made, spikes = block(0.5, learn_scale=learn_scale), maps()
    made.layers[1].threshold = torch.nn.Parameter(torch.linspace(0.3, 2.0, 5))
    expected = made(spikes).times
    assert len(expected.unique()) > 3
    folded = made.fold()
    assert torch.equal(folded(spikes).times, expected) and folded.layers[1].theta is None
    assert folded.scale.shape == (5,) and isinstance(folded.scale, torch.nn.Parameter) == learn_scale
    assert torch.equal(folded.fold()(spikes).times, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_nets(spec: str, tmp_path: Path) -> None:
    net = models.build(spec, input_shape=(2, 8, 8), steps=STEPS, dropout=0.1, generator=generator(0))
    x = torch.rand(4, 2, 8, 8, generator=generator(1))
    net.train()(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    seen = net.eval().observe(x)
    assert torch.equal(models.prepare_for_inference(net)(x), seen.scores)
    fs.save(net, tmp_path / "net")
    assert torch.equal(fs.load(tmp_path / "net")(x), seen.scores)
    relu = models.relu_counterpart(spec, input_shape=(2, 8, 8), dropout=0.1, generator=generator(0))
    ours = [p.shape for n, p in net.named_parameters() if n.endswith("weight")]
    assert ours == [p.shape for n, p in relu.named_parameters() if n.endswith("weight")]


def test_by_default_a_spike_of_the_input_fires_its_neuron_alone() -> None:
    assert float(block(scale=1.0).scale) == float(nn.Residual([nn.TTFSLinear(3, 3, steps=4)]).scale) == 1.0
    made = nn.Residual([nn.TTFSLinear(3, 3, steps=4), nn.TTFSLinear(3, 3, steps=4)])
    with torch.no_grad():
        made.layers[-1].weight.zero_()  # type: ignore[operator,union-attr]
    spikes = SpikeTimes(torch.tensor([[0, 2, 255], [3, 255, 1]], dtype=torch.uint8), 4)
    assert torch.equal(made(spikes).times, spikes.times)
    net = models.build("4C3-R(4C3-4C3)-2", input_shape=(1, 4, 4), steps=4, threshold=0.7)
    assert float(net.layers[1].scale) == pytest.approx(0.7)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [3, 5, 7, 8, 9])
def test_a_stride_on_maps_of_any_size(size: int) -> None:
    net = models.build("4C3-R(4C3-4C3s2)-10", input_shape=(1, size, size + 1), steps=5, generator=generator(0))
    block = net.layers[1]
    with torch.no_grad():
        for layer in block.layers:
            layer.weight.zero_()
    spikes = net.layers[0](torch.rand(2, 1, size, size + 1, generator=generator(1)))
    assert torch.equal(block(spikes).times, spikes.times[:, :, ::2, ::2])


@pytest.mark.parametrize(
    ("spec", "refused", "taken"),
    [("4C3-AP2-R(4C3-4C3)-10", 7, 3), ("4C3-R(4C3s2-4C3s2)-10", 5, 12), ("4C3-AP2-R(4C3-4C3s2)-10", 6, 8)],
)
def test_the_shortcut_of_a_block_must_lie_under_its_output(spec: str, refused: int, taken: int) -> None:
    with pytest.raises(ValueError, match="one row in .* and one column in .* must make its output"):
        models.build(spec, input_shape=(1, refused, refused), steps=5)
    net = models.build(spec, input_shape=(1, taken, taken), steps=5)
    assert net(torch.rand(2, 1, taken, taken)).shape == (2, 10)
    emulator.quantize(net, "generic8")


def test_a_pool_that_leaves_a_rest_is_refused() -> None:
    layers = [nn.TTFSConv2d(4, 4, 3, padding=1, steps=5, avg_pool=2), nn.TTFSConv2d(4, 4, 3, padding=1, steps=5)]
    spikes = encode.latency(torch.rand(2, 4, 7, 7, generator=generator(0)), 5)
    with pytest.raises(ValueError, match="one row in 2 and one column in 2 make the block's output"):
        nn.Residual(layers)(spikes)
    assert nn.Residual(layers)(spikes[:, :, :6, :6]).shape == (2, 4, 3, 3)
    chain = torch.nn.Sequential(nn.LatencyEncoder(5), nn.Residual(layers), nn.Integrate(36, 3, steps=5), nn.MembraneReadout())
    with pytest.raises(ValueError, match="one row in 2 and one column in 2 make the block's output"):
        emulator.quantize(models.as_net(chain, input_shape=(4, 7, 7)), "generic8")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_scale_stays_frozen_when_the_block_is_folded(frozen: bool) -> None:
    block = nn.Residual([nn.TTFSLinear(4, 4, steps=4)], learn_scale=True).requires_grad_(not frozen).fold()
    assert {parameter.requires_grad for parameter in block.parameters()} == {not frozen}
