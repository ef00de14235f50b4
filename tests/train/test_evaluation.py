"""What may be measured: data sets, pairs of arrays or tensors, loaders."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from firstspike import SpikeTimes, encode, models, train
from firstspike import nn as fs

NET = models.mlp("36-8-4", input_shape=(1, 6, 6), steps=4, generator=torch.Generator().manual_seed(0))


def test_a_pair_is_measured_as_its_data_set(sets):
    test = sets[1]
    expected = train.evaluate(NET, test)
    for pair in (
        (test.images, test.labels),
        [test.images.numpy(), test.labels.tolist()],
        (test.images[:, 0], test.labels),
    ):
        assert train.evaluate(NET, pair) == expected
    assert train.evaluate(NET, (test.images.double() / 255, test.labels), batch=7).accuracy == expected.accuracy


def behind_others(dense):
    """A chain that begins with layers of torch's, in front of a layer of ours that takes a map, or features."""
    torch.manual_seed(0)
    first = fs.DirectLinear(100, 20, steps=4) if dense else fs.DirectConv2d(4, 4, 3, steps=4)
    flat = [nn.Flatten()] if dense else []
    width = 20 if dense else 64
    head = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    if dense:
        head = [nn.Flatten(), nn.Linear(36, 100), nn.ReLU()]
    return nn.Sequential(*head, *flat, first, fs.Integrate(width, 4, steps=4), fs.MembraneReadout())


@pytest.mark.parametrize("dense", [True, False])
def test_a_chain_that_begins_with_layers_of_torch(dense, sets):
    net = behind_others(dense)
    config = train.Config(epochs=1, batch=16, lr=0.01)
    result = train.fit(config, model=net, datasets=sets, progress=False)
    x, labels = sets[1].images / 255, sets[1].labels
    with torch.no_grad():
        scores = net.eval()(x)
    assert result.test.accuracy == float((scores.argmax(1) == labels).double().mean())
    assert result.test.loss == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-5)
    assert train.evaluate(net, sets[1]) == result.test
    assert len(result.test.spikes_per_layer) == 1 and result.test.steps_mean <= 4
    assert torch.equal(models.as_net(net, (1, 6, 6))(x), scores)


class Encoding(nn.Module):
    """Code of one's own that gives spikes: of images, or of spikes."""

    def forward(self, x):
        return x if isinstance(x, SpikeTimes) else encode.latency(x, 4)


def test_a_chain_that_begins_with_code_of_ones_own(sets):
    torch.manual_seed(0)
    net = nn.Sequential(Encoding(), fs.TTFSLinear(36, 16, steps=4), fs.Integrate(16, 4, steps=4), fs.MembraneReadout())
    images = sets[1].images.flatten(1) / 255
    of_images = train.evaluate(net, (images, sets[1].labels))
    assert train.evaluate(net, (encode.latency(images, 4), sets[1].labels)) == of_images
    assert len(of_images.spikes_per_layer) == 1


class Caching(nn.Module):
    """Keeps a tensor that it makes in its first call."""

    def __init__(self):
        super().__init__()
        self.layer, self.place = nn.Linear(36, 4), None

    def forward(self, x):
        if self.place is None:
            self.place = torch.linspace(0, 1, 36)
        return self.layer(x.flatten(1) * self.place)


def test_a_net_that_keeps_a_tensor_is_trained_after_it_was_measured(sets):
    net = Caching()
    train.evaluate(net, sets[1])
    net(sets[1].images / 255).sum().backward()
    assert net.layer.weight.grad.any()


def test_what_cannot_be_measured_is_named(sets):
    with pytest.raises(TypeError, match=r"dataset must be a data.Dataset, a pair of arrays \(x, y\), .* got int"):
        train.evaluate(NET, 3)
    with pytest.raises(TypeError, match=r"dataset must be a data.Dataset, a pair of arrays \(x, y\), .* got Tensor"):
        train.evaluate(NET, sets[1].images)
    with pytest.raises(ValueError, match=r"labels must be int64 \[60\]"):
        train.evaluate(NET, (sets[1].images, sets[1].labels[:5]))
    with pytest.raises(ValueError, match=r"dataset must have at least one image"):
        train.evaluate(NET, (sets[1].images[:0], sets[1].labels[:0]))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing when gradients are computed")
@pytest.mark.parametrize("of_all", [False, True], ids=["of the net", "of all modules"])
@pytest.mark.parametrize("chain", [False, True], ids=["TTFSNet", "Sequential"])
def test_backward_hooks_hear_every_batch(config, sets, chain, of_all):
    net = models.build("36-8-4", input_shape=sets[0].input_shape, steps=4)
    if chain:
        layers = [fs.DirectLinear(36, 8, steps=4), fs.Integrate(8, 4, steps=4), fs.MembraneReadout()]
        net = nn.Sequential(nn.Flatten(), *layers)
    heard = []

    def hear(module, *gradients):
        if module is net:
            heard.append(1)

    register = (
        nn.modules.module.register_module_full_backward_pre_hook if of_all else net.register_full_backward_pre_hook
    )
    handle = register(hear)
    try:
        result = train.fit(
            config.replace(spec="", steps=8, epochs=1, batch=50), model=net, datasets=sets, progress=False
        )
    finally:
        handle.remove()
    assert len(heard) == -(-result.data["train"]["samples"] // 50) > 1
