"""Where a record comes from: commit, versions, machine, time."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__version__ = "0.2.0"
PACKAGES = ("firstspike", "torch", "numpy")
_HERE = Path(__file__).resolve().parent


def record() -> dict[str, Any]:
    """The origin of a record: commit, versions, machine, time (UTC).

    Examples:
        >>> sorted(provenance.record())
        ['commit', 'machine', 'time', 'versions']
    """
    return {"commit": own_commit(), "versions": versions(), "machine": machine(), "time": now()}


def own_commit() -> str | None:
    """The commit of the checkout that this package is imported from, "-dirty" appended where its sources differ.

    None where the package is installed, also into an environment that lies inside another project's checkout.

    Examples:
        >>> commit = provenance.own_commit()
        >>> commit is None or len(commit.removesuffix("-dirty")) == 40
        True
    """
    try:
        _git(_HERE, "ls-files", "--error-unmatch", Path(__file__).name)
        root = Path(_git(_HERE, "rev-parse", "--show-toplevel"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit(root, ("python", "cpp"))


def commit(folder: Path, paths: Sequence[str] = (".",)) -> str | None:
    """The commit of the checkout `folder`, "-dirty" appended where tracked files under `paths` differ; None outside git.

    Parameters
    ----------
    folder : the checkout.
    paths : git pathspecs, so ":!results" leaves a folder out.

    Examples
    --------
    >>> from pathlib import Path
    >>> provenance.commit(Path("/")) is None
    True
    """
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *paths)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("-dirty" if changed else "")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of packages; "unknown" where one is not installed.

    The version of firstspike is the one in this code, which need not be installed.

    Parameters
    ----------
    packages : names of distributions.

    Examples
    --------
    >>> sorted(provenance.versions(["torch"]))
    ['python', 'torch']
    """
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = __version__ if name == "firstspike" else metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def cores() -> int:
    """Number of processor cores that this process may use.

    Examples:
        >>> provenance.cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, system.

    Examples:
        >>> sorted(provenance.machine())
        ['cores', 'cpu', 'system']
    """
    return {"cpu": processor(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"}


def processor() -> str:
    """The processor's name as the system gives it.

    Examples:
        >>> provenance.processor() != ""
        True
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def now() -> str:
    """The time in UTC, as ISO 8601.

    Examples:
        >>> len(provenance.now())
        20
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
