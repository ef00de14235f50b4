"""Fashion-MNIST's way: a Debian package from a repository made here, through the real apt-get."""

import gzip
import hashlib
import io
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from firstspike import data
from firstspike.data import debian
from firstspike.data.catalogue import DebianPackage
from firstspike.data.deadline import Deadline

FOLDER = "usr/share/datasets/small"
CONTROL = "Package: dataset-small\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: small\n"


def tar_xz(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return buffer.getvalue()


def ar(members):
    raw = b"!<arch>\n"
    for name, content in members.items():
        raw += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
            + content
            + b"\n" * (len(content) % 2)
        )
    return raw


def make_package(path, small):
    files = {f"{FOLDER}/{f.name}.gz": gzip.compress(r) for f, r in zip(small.source.files, small.raws, strict=True)}
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": tar_xz({"control": CONTROL.encode()}),
                         "data.tar.xz": tar_xz(files)}))  # fmt: skip


@pytest.mark.parametrize("tool", [True, False])
def test_files_out_of_a_package(small, tmp_path, monkeypatch, tool):
    if tool and shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb on this machine")
    if not tool:
        monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "small.deb"
    make_package(path, small)
    assert debian.read(path, FOLDER, small.source.files) == list(small.raws)
    with pytest.raises(ValueError, match=r"small.deb holds no usr/share/other/train-images"):
        debian.read(path, "usr/share/other", small.source.files)


def test_broken_package(small, tmp_path):
    path = tmp_path / "small.deb"
    path.write_bytes(b"no archive at all")
    with pytest.raises(ValueError):
        debian.read(path, FOLDER, small.source.files)


def test_ar_member_by_hand():
    raw = ar({"a": b"odd", "data.tar.xz": b"four"})
    assert debian.ar_member(raw, "data.tar") == b"four"
    with pytest.raises(ValueError, match=r"holds no b"):
        debian.ar_member(raw, "b")
    with pytest.raises(ValueError, match=r"must begin with"):
        debian.ar_member(raw[1:], "a")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get on this machine")
def test_apt_get_with_lists_of_its_own(small, use, tmp_path, monkeypatch):
    """The system's lists know nothing of the package: the private update and download bring it."""
    repository = tmp_path / "repository"
    repository.mkdir()
    make_package(repository / "small.deb", small)
    raw = (repository / "small.deb").read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    (repository / "Packages").write_text(f"{CONTROL}Filename: ./small.deb\nSize: {len(raw)}\nSHA256: {digest}\n")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (tmp_path / "empty" / "partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{tmp_path}/empty";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = DebianPackage("dataset-small", FOLDER)
    use(replace(small.source, package=package))
    np.testing.assert_array_equal(data.load("mnist", train=True).images[:, 0].numpy(), small.arrays[0])
    with pytest.raises(OSError, match=r"Unable to locate package"):
        debian.fetch(replace(package, name="dataset-missing"), small.source.files, Deadline(60))


def test_without_apt_get(small, use, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    use(replace(small.source, package=DebianPackage("dataset-small", FOLDER)))
    with pytest.raises(data.NotAvailable, match=r"apt-get download dataset-small: there is no apt-get"):
        data.load("mnist", train=True)
