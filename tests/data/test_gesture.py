"""DVS Gesture: frames by hand, and the loader on recordings of tonic's shape."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from firstspike import data
from firstspike.data import gesture

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)])


def test_frame_by_hand():
    # 4x4 pixels are one square at 128 pixels; 8 slices of 100 microseconds each over t = 0..799
    events = np.array([(0, 0, 0, 0), (3, 3, 0, 99), (4, 0, 1, 100), (127, 127, 1, 799)], dtype=EVENT)
    frame = gesture.frame(events, sensor=128)
    assert frame.shape == (16, 32, 32) and frame.dtype == np.uint8
    places = {(0, 0, 0): 2, (3, 0, 1): 1, (15, 31, 31): 1}
    top = np.percentile([2, 1, 1], 99)  # 1.98
    for place, count in places.items():
        assert frame[place] == np.ceil(255 * min(count / top, 1))
    assert np.count_nonzero(frame) == 3


def test_no_events():
    assert not gesture.frame(np.array([], dtype=EVENT), sensor=128).any()


def write_recordings(root, part, labels):
    folder = root / "DVSGesture"
    (folder / f"ibmGesture{part}" / "user01_led").mkdir(parents=True)
    (folder / f"ibmGesture{part}.tar.gz").write_bytes(b"")
    rng = np.random.default_rng(2)
    for label in labels:
        columns = [rng.integers(0, high, 500) for high in (128, 128, 2, 1000)]
        columns[3].sort()
        np.save(folder / f"ibmGesture{part}" / "user01_led" / f"{label}.npy", np.stack(columns, 1).astype(np.float64))


@pytest.fixture
def tonic(monkeypatch):
    """tonic where it is installed; else a module with a reader of the same layout and attributes."""
    if importlib.util.find_spec("tonic") is not None:
        import tonic

        monkeypatch.setattr(tonic.datasets.DVSGesture, "_check_exists", lambda self: True)
        return tonic

    class DVSGesture:
        train_url, test_url = "http://127.0.0.1:9/train", "http://127.0.0.1:9/test"
        train_md5 = test_md5 = "0" * 32
        train_filename, test_filename = "ibmGestureTrain.tar.gz", "ibmGestureTest.tar.gz"
        classes = tuple(str(i) for i in range(11))
        sensor_size = (128, 128, 2)

        def __init__(self, save_to, train):
            from pathlib import Path

            part = "Train" if train else "Test"
            self.data = sorted(Path(save_to, "DVSGesture", f"ibmGesture{part}").glob("*/*.npy"))
            self.targets = [int(path.stem) for path in self.data]

        def __len__(self):
            return len(self.data)

        def __getitem__(self, index):
            rows = np.load(self.data[index])
            return np.array([tuple(row) for row in rows.astype(np.int64)], dtype=EVENT), self.targets[index]

    package, datasets = types.ModuleType("tonic"), types.ModuleType("tonic.datasets")
    datasets.DVSGesture = DVSGesture
    package.datasets = datasets
    monkeypatch.setitem(sys.modules, "tonic", package)
    monkeypatch.setitem(sys.modules, "tonic.datasets", datasets)
    return package


def test_recordings_become_frames(tonic, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_recordings(tmp_path, "Train", [0, 5, 10])
    write_recordings(tmp_path, "Test", [3])
    train = data.load("dvs-gesture", root=tmp_path, train=True, download=False)
    test = data.load("dvs-gesture", root=tmp_path, train=False, download=False)
    assert (len(train), len(test), train.classes, train.input_shape) == (3, 1, 11, (16, 32, 32))
    assert sorted(train.labels.tolist()) == [0, 5, 10] and test.labels.tolist() == [3]
    assert (train.images.amax(dim=(1, 2, 3)) == 255).all()


def test_not_to_be_had(tonic, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    with pytest.raises(data.NotAvailable, match=r"no DVSGesture/ibmGestureTrain.tar.gz(.|\n)*by hand"):
        data.load("dvs-gesture", train=True, download=False)


def test_without_tonic(monkeypatch):
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(data.NotAvailable, match=r"pip install tonic"):
        data.load("dvs-gesture", train=True)


@pytest.mark.skipif(importlib.util.find_spec("tonic") is None, reason="tonic is not installed")
def test_a_damaged_archive_in_a_folder_asks_no_network(tmp_path, monkeypatch):
    """tonic would fetch it anew."""
    import socket

    def refuse(*_):
        raise AssertionError("the network is used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "DVSGesture").mkdir()
    (tmp_path / "DVSGesture" / "ibmGestureTrain.tar.gz").write_bytes(b"cut")
    with pytest.raises(data.NotAvailable, match=r"ibmGestureTrain.tar.gz is damaged: its md5 is not"):
        data.load("dvs-gesture", root=tmp_path, train=True, download=False)
