"""Torch's generators are seeded for a while, those of the CPU and of one device alone."""

import torch

from firstspike.train.seeds import generator, seeded


def test_only_the_named_device_is_seeded_and_all_is_put_back(monkeypatch):
    seeded_all = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_all.append)
    before = torch.get_rng_state()
    with seeded(3, "order", 2, torch.device("cpu")):
        found = torch.rand(5)
    assert torch.equal(found, torch.rand(5, generator=generator(3, "order", 2)))
    assert torch.equal(torch.get_rng_state(), before) and not seeded_all
