"""The scaling of images as a module."""

import pytest
import torch

from firstspike.nn import Normalize

from ..samples import refusals

THREE = Normalize((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))


def images(*shape, dtype=torch.float32):
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    return (x * 255).to(dtype) if dtype == torch.uint8 else x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_float32(dtype):
    x = images(2, 3, 4, 4, dtype=dtype)
    assert torch.equal(THREE(x), THREE(x.float())) and THREE(x).dtype == torch.float32


def test_bytes_count_as_shares_of_255():
    x = images(2, 3, 4, 4, dtype=torch.uint8)
    assert torch.equal(THREE(x), THREE(x.float() / 255))
    assert Normalize.of(x).mean.allclose(Normalize.of(x.float() / 255).mean)
    assert Normalize.of(x).std.allclose(Normalize.of(x.float() / 255).std)


def test_one_number_scales_all_channels():
    x = images(2, 3, 4, 4)
    assert torch.equal(Normalize(0.5, 0.25)(x), Normalize((0.5,) * 3, (0.25,) * 3)(x))
    assert torch.equal(Normalize(0.5, 0.25)(x.flatten(1)), Normalize(0.5, 0.25)(x).flatten(1))


@pytest.mark.parametrize("shape", [(50, 3, 4, 4), (50, 7)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_what_it_is_made_of_gets_mean_0_and_deviation_1(shape, dtype):
    x = images(*shape, dtype=dtype)
    scaled = Normalize.of(x)(x)
    scaled = scaled.transpose(0, 1).flatten(1) if len(shape) == 4 else scaled.flatten()[None]
    assert scaled.mean(1).abs().max() < 1e-5 and (scaled.std(1, correction=0) - 1).abs().max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 1e-13, 0.1, 1e9])
def test_a_constant_channel_stays_near_zero(value):
    x = torch.full((1000, 1, 5, 5), value)
    assert Normalize.of(x)(x).abs().max() < 1


def test_settings_and_state_make_the_same_module():
    again = Normalize(**THREE.settings())
    assert torch.equal(again.mean, THREE.mean) and torch.equal(again.std, THREE.std)
    assert THREE.state_dict().keys() == {"mean", "std"}
    x = images(2, 3, 4, 4).requires_grad_()
    again(x).sum().backward()
    assert x.grad[0, :, 0, 0].tolist() == [1.0, 0.5, 0.25]


test_refusals = refusals(
    (lambda: Normalize((0.0, 0.0), (1.0,)), ValueError, "std"),
    (lambda: Normalize((), ()), ValueError, "std"),
    (lambda: Normalize(0.0, 0.0), ValueError, "std"),
    (lambda: Normalize(float("nan"), 1.0), ValueError, "mean"),
    (lambda: Normalize("0.5", 1.0), TypeError, "mean"),
    (lambda: THREE(torch.ones(2, 3, dtype=torch.int64)), TypeError, "images"),
    (lambda: THREE(torch.rand(2, 2, 4, 4)), ValueError, "images"),
    (lambda: THREE(torch.rand(3)), ValueError, "images"),
    (lambda: Normalize.of(torch.rand(5, 4, 4)), ValueError, "images"),
    (lambda: Normalize.of(torch.rand(0, 3, 4, 4)), ValueError, "images"),
    (lambda: Normalize.of(torch.ones(2, 3, dtype=torch.bool)), TypeError, "images"),
    (lambda: Normalize.of(torch.rand(2, 3).numpy()), TypeError, "images"),
)
