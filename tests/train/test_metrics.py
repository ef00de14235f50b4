"""Metrics against a plain loop over images, and by hand."""

import pytest
import torch

from firstspike import SpikeTimes, models
from firstspike.data import Normalize
from firstspike.models import Observation
from firstspike.train import Config, Metrics, evaluate, fit
from firstspike.train.distributed import ProcessGroup
from firstspike.train.metrics import Meter, quantile

from .conftest import make_dataset

READOUTS = ["membrane", "membrane-mean", "twd-exp", "twd-linear", "first-spike"]


@pytest.mark.parametrize("readout", READOUTS)
def test_evaluate_equals_a_loop(readout):
    dataset = make_dataset(37, 4)
    draw = torch.Generator().manual_seed(0)
    net = models.build("36-20-4", input_shape=(1, 6, 6), steps=5, readout=readout, generator=draw)
    found = evaluate(net, dataset, batch=10)
    right = loss = 0.0
    steps, spikes, silent, ties = [], torch.zeros(2), 0, 0
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        seen = net.observe(image[None] / 255)
        right += int(seen.scores.argmax()) == int(label)
        loss += torch.nn.functional.cross_entropy(seen.scores, label[None]).item()
        steps.append(min(int(seen.decision_step) + 1, 5))
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
    meter.observe(seen)
    found = meter.metrics(ProcessGroup())
    assert found.accuracy == pytest.approx(2 / 3) and found.loss == 2.0
    assert (found.steps_mean, found.steps_median, found.steps_p95) == (2.0, 2.0, 3.0)
    assert found.ties == found.silent == pytest.approx(1 / 3)
    assert found.spikes_per_neuron == pytest.approx(4 / 6) and found.spikes_per_image == pytest.approx(4 / 3)


class Half(torch.nn.Module):
    """Scores in bfloat16: those of each sample are its two features."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return (self.scale * x.flatten(1)).to(torch.bfloat16)


def test_scores_of_few_bits_are_counted_and_summed_in_more():
    labels = torch.arange(500) % 2
    x = torch.nn.functional.one_hot(labels, 2).float()
    x[7] = x[7].flip(0)
    found = evaluate(Half(), (x, labels))
    assert found.accuracy == 499 / 500
    expected = torch.nn.functional.cross_entropy(x.double(), labels)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)
    config = Config(epochs=1, batch=500, lr=0.0)
    trained = fit(config, model=Half(), datasets=((x, labels), (x, labels)), progress=False).history[0].train
    assert (trained.accuracy, trained.loss) == (found.accuracy, pytest.approx(found.loss))


def test_quantile_by_hand():
    counts = torch.tensor([0, 2, 0, 1, 1], dtype=torch.float64)  # 1 1 3 4
    assert [quantile(counts, share) for share in (0.25, 0.5, 0.51, 0.75, 0.76, 1.0)] == [1, 1, 3, 3, 4, 4]


def test_max_pooling_counts_units_that_fire_twice():
    net = models.build("4C3-MP2-8-4", input_shape=(1, 6, 6), steps=6, generator=torch.Generator().manual_seed(0))
    found = evaluate(net, make_dataset(30, 4))
    assert 0 < found.pooled_twice < 1


def test_relu_has_no_spikes():
    net = models.relu_counterpart("36-20-4", input_shape=(1, 6, 6), generator=torch.Generator().manual_seed(0))
    found = evaluate(net, make_dataset(30, 4), normalize=Normalize())
    assert found.steps_mean is None and found.spikes_per_layer is None and 0 <= found.accuracy <= 1


def test_mode_is_left_as_it_was_and_no_images_is_an_error():
    net = models.relu_counterpart("36-20-4", input_shape=(1, 6, 6), generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        evaluate(net.train(training), make_dataset(3, 4))
        assert net.training is training
    with pytest.raises(ValueError, match=r"dataset must have at least one image"):
        evaluate(net, make_dataset(0, 4))
