"""Augmentation against a loop over images, padded by NumPy."""

import numpy as np
import pytest
import torch

from firstspike.train import Augmentation, augment
from firstspike.train.augment import Draws


def by_hand(images, draws):
    """The same, one image after the other."""
    result = torch.zeros_like(images)
    height, width = images.shape[2:]
    mode = "reflect" if draws.border == "reflect" else "constant"
    for i, image in enumerate(images):
        if draws.flip is not None and draws.flip[i]:
            image = image.flip(2)
        padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (9, 9), (9, 9)), mode))
        top, left = (9, 9) if draws.shift is None else (9 - draws.shift[i]).tolist()
        result[i] = padded[:, top : top + height, left : left + width]
        if draws.box is not None:
            top, bottom, left, right = draws.box[i].tolist()
            result[i, :, top:bottom, left:right] = 0
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"shift": 2},
        {"flip": True},
        {"erase": 0.7, "erase_area": 0.5},
        {"shift": 3, "flip": True, "erase": 0.5},
        {"shift": 9},  # farther than the image is wide
        {"shift": 4, "border": "reflect"},
    ],
)
def test_equals_the_loop(settings, channels):
    augmentation = Augmentation(**settings)
    draw = torch.Generator().manual_seed(3)
    images = torch.randint(1, 256, (40, channels, 5, 7), generator=draw, dtype=torch.uint8)
    before = images.clone()
    draws = augment.draw(augmentation, 40, (5, 7), draw)
    result = augment.apply(images, draws)
    assert torch.equal(result, by_hand(images, draws))
    assert torch.equal(images, before)
    assert not torch.equal(result, images)


def test_draws_cover_their_ranges():
    draws = augment.draw(Augmentation(shift=2, flip=True, erase=0.25), 4000, (10, 12), torch.Generator().manual_seed(0))
    for axis in (0, 1):
        assert sorted(draws.shift[:, axis].unique().tolist()) == [-2, -1, 0, 1, 2]
    assert 0.45 < draws.flip.float().mean() < 0.55
    top, bottom, left, right = draws.box.unbind(1)
    assert (top >= 0).all() and (bottom <= 10).all() and (left >= 0).all() and (right <= 12).all()
    area = (bottom - top) * (right - left)
    erased = area > 0
    assert 0.21 < erased.float().mean() < 0.29
    assert (area[erased] <= 0.2 * 120 + 12).all()  # both sides are rounded
    assert len(area[erased].unique()) > 10


def test_nothing_drawn_changes_nothing():
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    still = Draws(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.bool), torch.zeros(3, 4).long())
    for draws in (Draws(None, None, None), still):
        assert torch.equal(augment.apply(images, draws), images)
