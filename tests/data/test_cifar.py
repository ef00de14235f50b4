"""CIFAR through torchvision's own classes, on a small archive of the same layout from a local mirror."""

import hashlib
import io
import pickle
import shutil
import sys
import tarfile

import numpy as np
import pytest

from firstspike import data

torchvision = pytest.importorskip("torchvision")


def md5(raw):
    return hashlib.md5(raw).hexdigest()


def make_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))


@pytest.fixture
def small_cifar(request, tmp_path, monkeypatch, mirror):
    """Make torchvision's class read a small set; returns the pixels of two training batches and of a test batch."""
    name, key, cls = request.param
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, size=(4, 3072), dtype=np.uint8) for _ in range(3)]
    batches = [pickle.dumps({"data": p, key: [3, 1, 2, 0]}) for p in pixels]
    names = pickle.dumps({"label_names": list("abcd"), "fine_label_names": list("abcd")})
    reader = getattr(torchvision.datasets, cls)
    make_archive(mirror.folder / reader.filename, reader.base_folder,
                 {"one": batches[0], "two": batches[1], "three": batches[2], "names": names})  # fmt: skip
    monkeypatch.setattr(reader, "url", mirror.url + reader.filename)
    monkeypatch.setattr(reader, "tgz_md5", md5((mirror.folder / reader.filename).read_bytes()))
    monkeypatch.setattr(reader, "train_list", [["one", md5(batches[0])], ["two", md5(batches[1])]])
    monkeypatch.setattr(reader, "test_list", [["three", md5(batches[2])]])
    monkeypatch.setattr(reader, "meta", {"filename": "names", "key": reader.meta["key"], "md5": md5(names)})
    return name, pixels


both = pytest.mark.parametrize(
    "small_cifar", [("cifar10", "labels", "CIFAR10"), ("cifar100", "fine_labels", "CIFAR100")], indirect=True
)


@both
def test_fetched_once_and_read(small_cifar, mirror):
    name, pixels = small_cifar
    train = data.load(name, train=True)
    test = data.load(name, train=False, download=False)
    np.testing.assert_array_equal(train.images.numpy(), np.concatenate(pixels[:2]).reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test.images.numpy(), pixels[2].reshape(-1, 3, 32, 32))
    assert test.labels.tolist() == [3, 1, 2, 0]
    assert (train.classes, train.input_shape) == (int(name.removeprefix("cifar")), (3, 32, 32))
    assert len(mirror.asked) == 1


@both
def test_archive_in_a_named_folder(small_cifar, mirror, tmp_path):
    name, _ = small_cifar
    dataset = data.load(name, root=mirror.folder, train=False, download=False)
    assert dataset.source == f"folder {mirror.folder}" and len(dataset) == 4
    shutil.copytree(mirror.folder, tmp_path / "sets" / name)
    assert (
        data.load(name, root=tmp_path / "sets", train=False, download=False).source
        == f"folder {tmp_path / 'sets' / name}"
    )
    assert mirror.asked == []


@both
def test_damaged_archive(small_cifar, mirror):
    name, _ = small_cifar
    (path,) = mirror.folder.glob("*.tar.gz")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(data.NotAvailable, match=r"md5 is"):
        data.load(name, train=True)


@both
def test_a_damaged_archive_in_a_folder_asks_no_network(small_cifar, mirror):
    name, _ = small_cifar
    (path,) = mirror.folder.glob("*.tar.gz")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(data.NotAvailable, match=rf"{path.name} is damaged: its md5 is not"):
        data.load(name, root=mirror.folder, train=True, download=False)
    assert mirror.asked == []


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_not_to_be_had(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(data.NotAvailable, match=f"{name}' is not available(.|\n)*download=False(.|\n)*python.tar.gz"):
        data.load(name, train=True, download=False)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(data.NotAvailable, match=r"pip install torchvision"):
        data.load(name, train=True)
