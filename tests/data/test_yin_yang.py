"""Yin-Yang against the samples that its authors published, and the shape of its classes."""

import hashlib

import pytest
import torch

from firstspike import data


@pytest.mark.parametrize(
    ("train", "samples", "digest"),
    [
        (True, 5000, "7188950fcf53efbd186e8b4099199e55a7aca278e943951c6015ea1da537a6ea"),
        (False, 1000, "1f93087de6d48649721977b89e5deb76c3779788da2e977b1c097fe87ff863eb"),
    ],
)
def test_samples_are_the_published_ones(train, samples, digest):
    """The sha256 is that of publication_data/*_samples.npy of lkriener/yin_yang_data_set at e6eef96, as float32."""
    points = data.load("yin-yang", train=train)
    assert points.images.shape == (samples, 4) and points.classes == 3
    assert hashlib.sha256(points.images.numpy().tobytes()).hexdigest() == digest
    _assert_classes(points)


def _assert_classes(points):
    """Dots have class 2; the upper half with the left lobe has class 1, and half a turn around the centre makes it class 0."""
    x, y = points.images[:, 0], points.images[:, 1]
    left, right = torch.hypot(x - 0.25, y - 0.5), torch.hypot(x - 0.75, y - 0.5)
    half = torch.minimum(left, right) >= 0.1
    assert (half == (points.labels < 2)).all()
    upper = (left <= 0.25) | ((y > 0.5) & (right > 0.25))
    turned = (right <= 0.25) | ((y < 0.5) & (left > 0.25))
    assert (upper == (points.labels == 1))[half].all() and (turned == (points.labels == 0))[half].all()
