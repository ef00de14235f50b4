"""Data sets out of arrays, tensors and spike times."""

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes, data


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 4, 5), (3, 20)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("labels", [[0, 1, 1], np.array([0, 1, 1], np.int32), torch.tensor([0, 1, 1])])
def test_shapes_and_types(shape, kind, labels):
    x = (np.arange(np.prod(shape)) % 7).reshape(shape).astype(kind)
    for value in (x, torch.from_numpy(x)):
        found = data.from_arrays(value, labels)
        assert found.images.dtype == (torch.uint8 if kind is np.uint8 else torch.float32)
        wanted = (3, 1, 4, 5) if len(shape) == 3 else shape
        assert found.images.shape == wanted and found.input_shape == wanted[1:] and found.labels.tolist() == [0, 1, 1]
        assert (found.classes, found.steps, found.recipe) == (2, None, None)
        assert torch.equal(found.images.flatten().double(), torch.from_numpy(x).flatten().double())


@pytest.mark.parametrize("made", [np.zeros, torch.zeros])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_what_is_changed_later_changes_nothing(made, kind):
    library = np if made is np.zeros else torch
    x, y = made((2, 3), dtype=getattr(library, kind)), made(2, dtype=library.int64)
    found = data.from_arrays(x, y, classes=2)
    x[:], y[:] = 1, 1
    assert not found.images.any() and not found.labels.any()


def test_spike_times_that_are_changed_later_change_nothing():
    times = torch.zeros(2, 3, dtype=torch.uint8)
    found = data.from_arrays(SpikeTimes(times, 4), [0, 1])
    times[:] = 200
    assert not found.images.any()


def test_spike_times():
    times = torch.tensor([[0, 3, 255], [255, 255, 1]], dtype=torch.uint8)
    found = data.from_arrays(SpikeTimes(times, 4), [1, 0])
    assert found.steps == 4 and found.images.shape == (2, 3) and "spike times of 4 steps" in repr(found)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            np.zeros((2, 3), np.int64),
            [0, 1],
            TypeError,
            "x must be uint8, a float type, or SpikeTimes, got torch.int64",
        ),
        (np.zeros(3, np.uint8), [0, 1, 2], ValueError, r"x must be \[N, C, H, W\], .* got shape \[3\]"),
        (np.zeros((2, 3), np.uint8), [0.0, 1.0], TypeError, "y must be of an integer type, got torch.float64"),
        (
            np.zeros((2, 3), np.uint8),
            [0, 1, 2],
            ValueError,
            r"labels must be int64 \[2\], one per sample, got a tensor of shape \(3,\)",
        ),
        (np.zeros((2, 3), np.uint8), [0, -1], ValueError, r"labels must be classes in 0..0, got -1"),
        (np.full((2, 3), np.inf), [0, 1], ValueError, "image 0 holds NaN or infinity"),
        (np.ma.masked_less(np.zeros((2, 3)), 1), [0, 1], TypeError, r"x must be an array without a mask; filled\(0\)"),
        ("images", [0, 1], TypeError, "x must be an array or a tensor of numbers"),
    ],
)
def test_mistakes_are_named(x, y, error, message):
    with pytest.raises(error, match=message):
        data.from_arrays(x, y)


def test_times_outside_the_steps():
    with pytest.raises(ValueError, match=r"spike times must be in 0..3, or 255 for silent, got 4"):
        data.Dataset(torch.tensor([[[[4]]]], dtype=torch.uint8), torch.tensor([0]), 1, "a", "b", steps=4)


def test_fingerprints_tell_data_apart_and_not_names():
    one = data.from_arrays(np.zeros((2, 3), np.uint8), [0, 1])
    assert one.fingerprint() == data.from_arrays(np.zeros((2, 3), np.uint8), [0, 1], name="b").fingerprint()
    others = [
        data.from_arrays(np.ones((2, 3), np.uint8), [0, 1]),
        data.from_arrays(np.zeros((2, 3), np.uint8), [1, 0]),
        data.from_arrays(np.zeros((2, 3), np.float32), [0, 1]),
        data.from_arrays(np.zeros((2, 3), np.uint8), [0, 1], classes=3),
        data.from_arrays(np.zeros((2, 1, 3), np.uint8)[:, :, :2], [0, 1]),
    ]
    assert len({part.fingerprint() for part in [one, *others]}) == 6


def test_draw_keeps_the_shares_of_classes():
    whole = data.from_arrays(np.arange(90, dtype=np.uint8)[:, None], np.arange(90) // 30)
    drawn = data.draw(whole, 31)
    assert sorted(torch.bincount(drawn.labels).tolist()) == [10, 10, 11]
    assert drawn.fingerprint() == data.draw(whole, 31).fingerprint()
    assert drawn.images.flatten().tolist() == sorted(drawn.images.flatten().tolist())
    with pytest.raises(ValueError, match=r"count must be from 1 to 90, got 91"):
        data.draw(whole, 91)


EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


def test_events_become_the_first_spike_of_each_pixel():
    one = np.array([(0, 0, 5, 1), (0, 0, 0, 1), (2, 1, 9, 0)], EVENT)
    other = np.array([(1, 1, 100, 0)], EVENT)
    found = data.from_events([one, other], [1, 0], sensor_size=(3, 2, 2), steps=10, window=10, name="two")
    assert found.steps == 10 and found.input_shape == (2, 2, 3) and found.name == "two"
    assert found.images[0, 1, 0, 0] == 0 and found.images[0, 0, 1, 2] == 9 and (found.images[0] != 255).sum() == 2
    assert found.images[1, 0, 1, 1] == 0 and (found.images[1] != 255).sum() == 1
    with pytest.raises(ValueError, match="recordings must have at least one"):
        data.from_events([], [], sensor_size=(3, 2, 2), steps=10)


@pytest.mark.parametrize("window", [0.01, (0, 0.01), (10**6, 2 * 10**6), 10**9])
def test_a_window_in_another_unit_than_the_times_is_warned_of(window):
    recordings = [np.array([(0, 0, 5, 1), (2, 1, 9000, 0)], EVENT), np.array([], EVENT)]
    with pytest.warns(
        UserWarning, match=r"window must be in the unit of t, got .* 10 steps. The longest .* lasts 8995"
    ):
        data.from_events(recordings, [1, 0], sensor_size=(3, 2, 2), steps=10, window=window)
    found = data.from_events(recordings, [1, 0], sensor_size=(3, 2, 2), steps=10, window=9000)  # no warning
    assert (found.images[0] != 255).sum() == 2


def test_features_have_the_fingerprint_of_version_01():
    x = torch.arange(12, dtype=torch.float32).view(3, 4)
    flat, image = (data.from_arrays(each, [0, 1, 1]) for each in (x, x.view(3, 1, 1, 4)))
    assert flat.input_shape == (4,) and flat.fingerprint() == image.fingerprint()


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_features_are_scaled_as_one_channel(kind):
    x = torch.tensor([[0, 10, 20], [30, 40, 50]], dtype=kind)
    scaled = data.Normalize.of(x)(x)
    assert (
        scaled.shape == (2, 3) and abs(float(scaled.mean())) < 1e-6 and abs(float(scaled.std(correction=0)) - 1) < 1e-6
    )
    image = x.view(2, 1, 1, 3)
    assert torch.equal(data.Normalize.of(image)(image).flatten(), scaled.flatten())


def test_images_whose_channels_are_last_are_warned_of():
    images = np.zeros((2, 28, 28, 1), np.uint8)
    with pytest.warns(
        UserWarning, match=r"\[2, 28, 28, 1\] is read as \[N, C, H, W\], images of 28 channels; .*moveaxis"
    ):
        data.from_arrays(images, [0, 1])
    assert data.from_arrays(np.moveaxis(images, 3, 1), [0, 1]).input_shape == (1, 28, 28)  # a warning would be an error


@pytest.mark.parametrize("shape", [(5, 15, 17, 3), (5, 28, 28, 1)])
def test_channels_that_are_last_are_warned_of_in_maps_of_any_shape(shape):
    with pytest.warns(UserWarning, match="where the channels are last"):
        data.from_arrays(np.zeros(shape, np.uint8), [0, 1, 2, 3, 4])


def test_masked_events_are_refused():
    events = np.ma.masked_array(np.array([(0, 0, 10, 1), (0, 0, 50, 1)], EVENT), mask=[True, False])
    with pytest.raises(TypeError, match=r"events must be an array without a mask; events.compressed\(\)"):
        data.from_events([events], [0], sensor_size=(3, 2, 2), steps=10, window=(0, 100))
