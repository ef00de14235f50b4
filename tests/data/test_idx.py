"""The IDX format against bytes written by hand."""

import numpy as np
import pytest

from firstspike.data import idx


def test_bytes_by_hand():
    array = np.array([[1, 2, 3], [4, 5, 255]], dtype=np.uint8)
    raw = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
    assert idx.encode(array) == raw
    np.testing.assert_array_equal(idx.decode(raw), array)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes([0, 0, 8]),
        bytes([0, 0, 13, 1, 0, 0, 0, 1, 7]),  # float32
        bytes([0, 0, 8, 0]),  # no dimension
        bytes([0, 0, 8, 2, 0, 0, 0, 1]),  # header cut
        bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2]),  # data cut
        bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]),  # data too long
    ],
)
def test_bad_bytes(raw):
    with pytest.raises(ValueError, match=r"^raw must"):
        idx.decode(raw)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match=r"array must be uint8"):
        idx.encode(np.zeros(3))
