"""Measures against a plain loop over images, and by hand; answers for images."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from firstspike import SpikeTimes, encode, models
from firstspike import nn as fs
from firstspike.models import Observation
from firstspike.train import Metrics, evaluate, predict
from firstspike.train.distributed import ProcessGroup
from firstspike.train.evaluation import Meter

from .conftest import make_dataset, run

NET = models.mlp("36-8-4", input_shape=(1, 6, 6), steps=4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("readout", ["membrane", "membrane-mean", "twd-exp", "twd-linear", "first-spike"])
def test_evaluate_equals_a_loop(readout):
    dataset = make_dataset(37, 4)
    draw = torch.Generator().manual_seed(0)
    net = models.build("36-20-4", input_shape=(1, 6, 6), steps=5, readout=readout, generator=draw)
    found = evaluate(net, dataset, batch=10)
    right = loss = 0.0
    steps, spikes, silent, ties, stopped = [], torch.zeros(2), 0, 0, torch.zeros(5)
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        seen = net.observe(image[None] / 255)
        right += int(seen.scores.argmax()) == int(label)
        loss += F.cross_entropy(seen.scores, label[None]).item()
        steps.append(min(int(seen.decision_step) + 1, 5))
        stopped += torch.tensor([int(models.stop_after(net, k)(image[None] / 255).argmax()) == int(label) for k in range(1, 6)])
        for index, layer in enumerate(seen.layers):
            spikes[index] += int((layer.times != 255).sum())
        silent += int(seen.silent)
        ties += int(seen.ties)
    sizes = torch.tensor([layer.times.numel() for layer in seen.layers])
    assert sizes[0] == 20
    spikes = spikes[: len(sizes)]
    steps.sort()
    assert found.images == 37 and found.accuracy == right / 37
    assert found.loss == pytest.approx(loss / 37, rel=1e-5)
    assert found.steps_mean == pytest.approx(sum(steps) / 37)
    assert (found.steps_median, found.steps_p95) == (steps[18], steps[35])  # ceil(37/2), ceil(0.95 * 37)
    assert found.stopped == pytest.approx((stopped / 37).tolist())
    assert (found.silent, found.ties) == (silent / 37, ties / 37)
    assert found.spikes_per_layer == pytest.approx((spikes / sizes / 37).tolist())
    assert found.spikes_per_neuron == pytest.approx(float(spikes.sum() / sizes.sum()) / 37)
    assert found.spikes_per_image == pytest.approx(float(spikes.sum()) / 37)
    assert found.pooled_twice is None
    assert Metrics.from_dict(found.to_dict()) == found


def test_silent_images_decide_after_all_steps():
    times = torch.tensor([[255, 255], [0, 2], [1, 1]], dtype=torch.uint8)
    no = torch.zeros(0, dtype=torch.int64)
    seen = Observation(
        torch.zeros(3, 2), [SpikeTimes(times, 3)], None, torch.tensor([3, 0, 1]), torch.tensor([False, False, True]),
        torch.tensor([True, False, False]), no, no, 3,
    )  # fmt: skip
    meter = Meter(torch.device("cpu"))
    meter.add(seen.scores, torch.tensor([0, 0, 1]), torch.tensor(6.0))
    meter.observe(seen, torch.tensor([0, 0, 1]))
    found = meter.metrics(ProcessGroup())
    assert found.accuracy == pytest.approx(2 / 3) and found.loss == 2.0
    assert (found.steps_mean, found.steps_median, found.steps_p95) == (2.0, 2.0, 3.0)
    assert found.ties == found.silent == pytest.approx(1 / 3)
    assert found.spikes_per_neuron == pytest.approx(4 / 6) and found.spikes_per_image == pytest.approx(4 / 3)


def test_relu_has_no_spikes_max_pools_count_and_modes_are_left():
    net = models.relu_counterpart("36-20-4", input_shape=(1, 6, 6), generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        found = evaluate(net.train(training), make_dataset(30, 4))
        assert found.steps_mean is None and found.spikes_per_layer is None and 0 <= found.accuracy <= 1
        assert net.training is training
    net = models.build("4C3-MP2-8-4", input_shape=(1, 6, 6), steps=6, generator=torch.Generator().manual_seed(0))
    assert 0 < evaluate(net, make_dataset(30, 4)).pooled_twice < 1


def behind_others(dense):
    """A chain that begins with layers of torch's, in front of a layer of ours that takes a map, or features."""
    torch.manual_seed(0)
    if dense:
        head = [nn.Flatten(), nn.Linear(36, 100), nn.ReLU(), fs.DirectLinear(100, 20, steps=4)]
    else:
        head = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), fs.DirectConv2d(4, 4, 3, steps=4)]
    return nn.Sequential(*head, fs.Integrate(20 if dense else 64, 4, steps=4), fs.MembraneReadout())


@pytest.mark.parametrize("dense", [True, False])
def test_spikes_of_a_chain_are_measured(dense, config, sets):
    net = behind_others(dense)
    result = run(config.replace(epochs=1), sets, model=net)
    x, labels = sets[1].images / 255, sets[1].labels
    with torch.no_grad():
        scores = net.eval()(x)
    assert result.test.accuracy == float((scores.argmax(1) == labels).double().mean())
    assert result.test.loss == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-5)
    assert evaluate(net, sets[1]) == result.test
    assert len(result.test.spikes_per_layer) == 1 and result.test.steps_mean <= 4


def test_predictions_are_those_that_were_measured(sets):
    images, labels = sets[1].images, sets[1].labels
    found = predict(NET.train(), images, batch=7)
    assert found.dtype == torch.int64 and NET.training
    assert float((found == labels).double().mean()) == evaluate(NET, sets[1]).accuracy
    for same in (images.numpy(), images / 255, (images / 255).double(), images[:, 0]):
        assert torch.equal(predict(NET, same), found)
    scores = predict(NET, images, scores=True)
    torch.testing.assert_close(scores, NET.eval()(images / 255).detach())
    assert not scores.requires_grad and torch.equal(scores.argmax(1), found)
    assert predict(NET, images[:0]).shape == (0,)
    net = models.build("36-8-4", input_shape=(36,), steps=4, encoder="spikes")
    x = encode.latency(torch.rand(5, 36), steps=4)
    assert torch.equal(predict(net, x), net(x).argmax(1))


def test_a_net_without_a_firing_layer_has_no_spikes(config, sets):
    net = nn.Sequential(fs.LatencyEncoder(4), fs.Integrate(36, 4, steps=4), fs.MembraneReadout())
    found = run(config.replace(epochs=1), sets, model=net).test
    assert found.steps_mean <= 4
    assert (found.spikes_per_neuron, found.spikes_per_layer, found.spikes_per_image) == (None, None, None)
