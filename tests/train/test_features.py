"""Samples of features, arrays [N, F]: training, files and the emulator take them as they are."""

import pytest
from torch import nn

from firstspike import emulator, models, train
from firstspike import nn as fs
from firstspike.train import load_model

from .conftest import run


@pytest.mark.parametrize("standardize", [False, True])
def test_features_reach_a_net_of_ones_own_as_they_are(config, sets, tmp_path, standardize):
    config = config.replace(data="", spec="", standardize=standardize)
    pair = tuple((part.images.flatten(1), part.labels) for part in sets)
    features = sets[0].images[0].numel()
    layers = [fs.DirectLinear(features, 12, steps=4), fs.Integrate(12, sets[0].classes, steps=4), fs.MembraneReadout()]
    built = models.build(f"{features}-12-{sets[0].classes}", input_shape=(features,), steps=4)
    for number, net in enumerate((nn.Sequential(*layers), built)):
        result = run(config, pair, model=net, directory=tmp_path / str(number))
        assert result.test.accuracy > 0.5
    trained = load_model(tmp_path / "1")
    assert trained.input_shape == (features,)
    x, labels = sets[1].images.flatten(1), sets[1].labels
    net = models.as_net(trained.model)
    if standardize:
        net.normalize = fs.Normalize(trained.normalize.mean, trained.normalize.std)
    program = emulator.quantize(net, calibration=x)
    ran = emulator.run(program, x, labels=labels)
    assert abs(ran.accuracy - result.test.accuracy) < 0.1


def test_features_cannot_be_flipped(config, sets):
    pair = tuple((part.images.flatten(1), part.labels) for part in sets)
    with pytest.raises(ValueError, match="augmentation needs images"):
        run(config.replace(augmentation=train.Augmentation(flip=True)), pair)
