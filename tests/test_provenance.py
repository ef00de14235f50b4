"""Records name commit, versions, machine and time."""

from __future__ import annotations

import re
import subprocess

import firstspike
from firstspike._base import provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_is_dirty_where_the_named_paths_differ(tmp_path):
    assert provenance.commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    for folder in ("python", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "results" / "file").write_text("b")
    assert provenance.commit(tmp_path) == f"{head}-dirty"
    assert provenance.commit(tmp_path, ("python",)) == provenance.commit(tmp_path, (".", ":!results")) == head


def test_a_package_inside_a_foreign_checkout_has_no_commit(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    installed = tmp_path / "site-packages" / "firstspike"
    installed.mkdir(parents=True)
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setattr(provenance, "_HERE", installed)
    assert provenance.own_commit() is None


def test_the_version_is_that_of_the_code_installed_or_not(monkeypatch):
    def missing(name):
        raise provenance.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.metadata, "version", missing)
    found = provenance.versions(("firstspike", "torch"))
    assert found["firstspike"] == firstspike.__version__ and found["torch"] == "unknown"


def test_a_record_is_complete():
    made = provenance.record()
    assert set(made) == {"commit", "versions", "machine", "time"}
    assert made["versions"]["torch"] and made["machine"]["cores"] >= 1 and made["machine"]["cpu"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["time"])
    assert provenance.versions(("no-such-package",))["no-such-package"] == "unknown"
