"""Layers with what torch puts into a module: parametrizations, hooks, parameters set by hand, copies, autocast."""

from __future__ import annotations

import copy
import io
import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn as torch_nn
from torch.nn.utils import parametrizations, parametrize

from firstspike import SpikeTimes, functional, inspect, models, nn, train

from ..samples import generator, spike_times

STEPS = 8


class Doubled(torch_nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        """Twice the weight."""
        return 2 * weight


def spikes(*shape: int) -> SpikeTimes:
    """Times of all kinds."""
    return SpikeTimes(spike_times(shape, STEPS, "mixed", generator(3)), STEPS)


def linear(seed: int, **options: Any) -> nn.TTFSLinear:
    """A small layer."""
    return nn.TTFSLinear(20, 9, steps=STEPS, generator=generator(seed), **options)


@pytest.mark.parametrize("norm", [lambda m: parametrize.register_parametrization(m, "weight", Doubled()),
                                  parametrizations.spectral_norm, parametrizations.weight_norm])  # fmt: skip
def test_parametrized_layers_are_loaded(norm: Any) -> None:
    one, other, x = linear(0), linear(1), spikes(6, 20)
    norm(one), norm(other)
    one.eval(), other.eval()
    assert one(x) != other(x)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert one(x) == other(x)


def test_a_run_of_a_parametrized_net_resumes(tmp_path: Any) -> None:
    def net() -> models.TTFSNet:
        made = models.mlp("20-9-3", steps=STEPS, generator=generator(0))
        parametrizations.spectral_norm(made.layers[-1])
        return made

    x, y = torch.rand(40, 20, generator=generator(1)), torch.arange(40) % 3
    config = train.Config(data="digits", epochs=1, batch=20)
    data = ((x, y), (x, y))
    train.fit(config, model=net(), directory=tmp_path, datasets=data, progress=False)
    longer = train.fit(config.replace(epochs=2), model=net(), directory=tmp_path, datasets=data, progress=False)
    assert len(longer.history) == 2


def test_a_theta_that_is_set_by_hand_acts() -> None:
    layer, x = linear(0), spikes(6, 20)
    before = layer(x)
    layer.theta = torch_nn.Parameter(torch.full((9,), 50.0))
    assert layer(x).silent.all() and not before.silent.all()
    layer.theta = torch_nn.Parameter(torch.ones(9))
    layer(x).dense().sum().backward()
    assert layer(x) == before and layer.theta.grad is not None
    layer.theta = None
    assert layer(x) == before and layer.threshold == 1.0


def test_watching_stays_with_the_net_that_is_watched() -> None:
    """A net made for inference is a copy, and preparing it is no pass of the net's own."""
    net, x = models.mlp("20-9-3", steps=STEPS, generator=generator(0)), torch.rand(7, 20, generator=generator(1))
    with inspect.Monitor(net) as seen:
        net(x)
        inference = models.prepare_for_inference(net)
        inference(x[:2])
        assert len(seen.times["layers.0"]) == 7
    calls: list[int] = []
    net.layers[0].register_forward_hook(lambda *_: calls.append(1))
    inference = models.prepare_for_inference(net)
    assert not calls, "a hook of the user's own sees calls, not the preparation"
    inference(x)
    assert calls == [1]


@pytest.mark.parametrize("numbers", [1, 4])
def test_a_scale_that_is_a_parameter_is_learned_as_it_is(numbers: int) -> None:
    scale = torch_nn.Parameter(torch.full((numbers,), 0.5))
    block = nn.Residual([nn.TTFSLinear(4, 4, steps=STEPS, generator=generator(0))], scale=scale)
    assert dict(block.named_parameters())["scale"] is scale
    block(spikes(6, 4)).dense().sum().backward()
    assert scale.grad is not None and block.settings() == {"learn_scale": True, "channels": numbers}


def test_detached_spikes_give_their_bytes_away() -> None:
    out = linear(0)(spikes(6, 20))
    with pytest.raises(ValueError, match="spikes with a gradient"):
        SpikeTimes(out.times, STEPS)
    assert SpikeTimes(out.detach().times, STEPS) == out


@pytest.mark.parametrize("kind", [nn.TTFSLinear, nn.Integrate, nn.DirectLinear])
@pytest.mark.parametrize("dense", [False, True])
def test_weights_made_in_bfloat16_are_raised(kind: Any, dense: bool) -> None:
    """torch's `orthogonal` multiplies matrices, in bfloat16 under autocast."""
    layer = kind(20, 9, steps=STEPS, generator=generator(0))
    parametrizations.orthogonal(layer)
    x: Any = torch.rand(6, 20, generator=generator(1)) if kind is nn.DirectLinear else spikes(6, 20)
    if dense and kind is not nn.DirectLinear:
        x = x.dense()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert (out.dense() if isinstance(out, SpikeTimes) else out).dtype == torch.float32


def test_a_backward_hook_survives_calls_that_fail() -> None:
    layer, seen = linear(0), []
    handle = layer.register_full_backward_hook(lambda *_: seen.append(1))
    for _ in range(3):
        with pytest.raises(ValueError, match="have 21 features"):
            layer(spikes(6, 21))
    around = next(iter(layer._forward_hooks.values())).__self__  # type: ignore[attr-defined]
    assert not around.calls
    x = nn.DirectLinear(5, 20, steps=STEPS, generator=generator(1))(torch.rand(6, 5))
    layer(x).dense().sum().backward()
    assert seen == [1] and isinstance(handle.id, int)
    handle.remove()
    assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_devices_are_named_as_torch_names_them() -> None:
    x = spikes(2, 3)
    assert x.to("cpu", non_blocking=True) is x and x.cpu() is x
    for move in (lambda: x.to(0), x.cuda, lambda: x.cuda(0)):
        with pytest.raises((AssertionError, RuntimeError), match="CUDA|NVIDIA"):
            move()


def test_with_its_membrane_a_layer_fires_the_same_spikes() -> None:
    """The shortcut is added behind the bias in either call, which counts where they cancel."""
    layer, x = nn.TTFSLinear(1, 1, steps=2, affine=None), SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 2)
    with torch.no_grad():
        layer.weight.fill_(1e8)
        layer.bias.fill_(-1e8)
    fired, membrane = layer(x, x, membrane=True)
    assert fired == layer(x, x) and membrane.shape == (2, 1, 1)


def test_backward_hooks_of_a_layer_in_two_threads() -> None:
    """The thread that entered first leaves first."""
    both_inside, first_left, seen = threading.Barrier(2), threading.Event(), []

    class Slow(nn.TTFSLinear):
        def forward(self, x: Any, *arguments: Any, **options: Any) -> Any:
            """Leaves when both are inside, the thread with three samples last."""
            y = super().forward(x, *arguments, **options)
            both_inside.wait(20)
            if len(x) == 3:
                first_left.wait(20)
            return y

    layer = Slow(20, 9, steps=STEPS, generator=generator(0))
    layer.register_full_backward_hook(lambda module, inputs, outputs: seen.append((inputs[0].shape, outputs[0].shape)))

    def learn(batch: int) -> None:
        x = torch.rand(batch, 20, generator=generator(batch)).requires_grad_()
        y = layer(functional.ramp(x, STEPS))
        if batch == 5:
            first_left.set()
        y.dense().sum().backward()

    threads = [threading.Thread(target=learn, args=(batch,)) for batch in (5, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = []
    for batch in (5, 3):
        spikes = functional.ramp(torch.rand(batch, 20, generator=generator(batch)).requires_grad_(), STEPS)
        fired = nn.TTFSLinear.forward(layer, spikes)
        wanted.append((spikes._anchor.shape, fired._anchor.shape))
    assert sorted(seen) == sorted(wanted)


def test_a_hook_that_fails_before_a_backward_hook() -> None:
    layer = linear(0)

    def fail(*_: Any) -> None:
        raise KeyError("mine")

    layer.register_forward_pre_hook(fail)
    layer.register_full_backward_hook(lambda *_: None)
    with pytest.raises(KeyError, match="mine"):  # and no warning, which would be an error here
        layer(spikes(6, 20))


def test_the_old_backward_hook_is_refused() -> None:
    for module in (linear(0), nn.MaxPool2d(2), nn.Residual([nn.TTFSLinear(4, 4, steps=STEPS)])):
        with pytest.raises(RuntimeError, match="spikes are no tensors: use register_full_backward_hook"):
            module.register_backward_hook(lambda *_: None)


def test_a_module_that_keeps_a_hooks_handle_can_be_copied() -> None:
    net = torch.nn.Sequential(nn.TTFSLinear(4, 3, steps=4))
    net.handle = net[0].register_full_backward_hook(print)
    assert copy.deepcopy(net).handle.id == net.handle.id
