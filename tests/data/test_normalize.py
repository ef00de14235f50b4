"""The scaling of images: the types and channels that it takes."""

import pytest
import torch

from firstspike.data import Normalize

THREE = Normalize((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.bool, torch.complex64])
def test_other_types_than_bytes_and_floats_are_refused(dtype):
    """Their values may be 0 to 255 or not: they were taken as they are, and bytes divided by 255."""
    for normalize in (Normalize(), THREE):
        with pytest.raises(TypeError, match=rf"images must be uint8 or of a float type, got {dtype}"):
            normalize(torch.ones(2, 3, 4, 4, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_float32(dtype):
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(Normalize()(x), x.float()) and torch.equal(THREE(x), THREE(x.float()))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_another_number_of_channels_is_refused(channels):
    with pytest.raises(
        ValueError, match=rf"images must have 3 channels, one per mean and std, got {channels} in shape"
    ):
        THREE(torch.rand(2, channels, 4, 4))


def test_images_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"images must have 3 channels, .* got 4 in shape \(3, 4, 4\)"):
        THREE(torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match=r"images must have 3 channels, .* got none in shape \(3,\)"):
        THREE(torch.rand(3))


def test_one_number_scales_all_channels():
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Normalize((0.5,), (0.25,))(x), Normalize((0.5,) * 3, (0.25,) * 3)(x))
    assert torch.equal(Normalize((0.5,), (0.25,))(x.flatten(1)), Normalize((0.5,), (0.25,))(x).flatten(1))


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        (torch.rand(5, 4, 4), ValueError, r"images must be \[N, C, H, W\] or \[N, F\], got shape \[5, 4, 4\]"),
        (torch.rand(0, 3, 4, 4), ValueError, r"images must hold at least one sample .*, got shape \[0, 3, 4, 4\]"),
        (torch.ones(2, 3, dtype=torch.int64), TypeError, r"images must be uint8 or of a float type, got torch\.int64"),
        (torch.rand(2, 3, 4, 4).numpy(), TypeError, r"images must be a torch\.Tensor, got ndarray"),
    ],
)
def test_the_scaling_of_other_images_is_refused(images, error, text):
    with pytest.raises(error, match=text):
        Normalize.of(images)


@pytest.mark.parametrize("scale", [1e-13, 1e-9, 1.0, 1e9])
def test_data_of_any_scale_are_standardised(scale):
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * scale
    scaled = Normalize.of(x)(x)
    torch.testing.assert_close(scaled.std(correction=0), torch.tensor(1.0))
    constant = torch.full((500, 1), scale)
    assert Normalize.of(constant)(constant).abs().max() < 1
    assert Normalize.of(torch.zeros(5, 1)).std == (1e-6,)
