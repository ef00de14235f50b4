"""What may be measured: data sets, pairs of arrays or tensors, loaders."""

import pytest
import torch

from firstspike import models, train

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


def test_what_cannot_be_measured_is_named(sets):
    with pytest.raises(TypeError, match=r"dataset must be a data.Dataset, a pair of arrays \(x, y\), .* got int"):
        train.evaluate(NET, 3)
    with pytest.raises(TypeError, match=r"dataset must be a data.Dataset, a pair of arrays \(x, y\), .* got Tensor"):
        train.evaluate(NET, sets[1].images)
    with pytest.raises(ValueError, match=r"labels must be int64 \[60\]"):
        train.evaluate(NET, (sets[1].images, sets[1].labels[:5]))
    with pytest.raises(ValueError, match=r"dataset must have at least one image"):
        train.evaluate(NET, (sets[1].images[:0], sets[1].labels[:0]))
