"""Spike times as data of a run: encoder "spikes", augmentation, a DataLoader, mistakes."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from firstspike import SpikeTimes, train
from firstspike import nn as fs
from firstspike.train import load_model

from .conftest import make_dataset
from .test_own_parts import run


def spikes(count, seed):
    """Spike times of 6 x 6 pixels: those of one row come first, and the row tells the class."""
    part = make_dataset(count, seed)
    times = torch.where(part.images > 120, 0, 3).to(torch.uint8)
    times[part.images < 30] = 255
    return SpikeTimes(times, 4), part.labels


def test_spike_times_train_a_net_without_an_encoder(config, tmp_path):
    config = config.replace(encoder="spikes", epochs=15)
    pair = (spikes(150, 1), spikes(60, 2))
    result = run(config, pair, directory=tmp_path)
    assert result.test.accuracy > 0.8 and result.test.steps_mean is not None
    found = load_model(tmp_path)
    scores = found.model(pair[1][0])
    assert float((scores.argmax(1) == pair[1][1]).double().mean()) == result.test.accuracy
    augmented = config.replace(augmentation=train.Augmentation(shift=1, erase=0.5), epochs=1)
    assert run(augmented, pair).test.images == 60
    loaders = [
        DataLoader(
            range(len(y)),
            batch_size=16,
            collate_fn=lambda index, x=x, y=y: (x[torch.tensor(index)], y[torch.tensor(index)]),
        )
        for x, y in pair
    ]
    assert run(config.replace(epochs=1), tuple(loaders)).test.images == 60


def test_spike_times_train_a_chain_of_ones_own_whatever_the_config_says_of_nets(config):
    torch.manual_seed(0)
    net = nn.Sequential(fs.TTFSLinear(36, 16, steps=4), fs.Integrate(16, 4, steps=4), fs.MembraneReadout())
    config = config.replace(spec="", encoder="direct", steps=8, epochs=15)
    pair = (spikes(150, 1), spikes(60, 2))
    result = run(config, pair, model=net)
    assert result.test.accuracy > 0.8 and len(result.test.spikes_per_layer) == 1
    with pytest.raises(ValueError, match="standardize must be False for spike times, got True"):
        run(config.replace(standardize=True), pair, model=net)


def test_spike_times_need_the_encoder_and_the_steps(config, sets):
    pair = (spikes(50, 1), spikes(20, 2))
    with pytest.raises(ValueError, match=r"the data are spike times, which encoder 'direct' does not take"):
        run(config, pair)
    with pytest.raises(ValueError, match=r"the data are images, which encoder 'spikes' does not take"):
        run(config.replace(encoder="spikes"), sets)
    with pytest.raises(ValueError, match=r"steps must be the data's 4, got 5"):
        run(config.replace(encoder="spikes", steps=5), pair)
    with pytest.raises(ValueError, match=r"standardize needs encoder 'direct'"):
        run(config.replace(encoder="spikes", standardize=True), pair)
