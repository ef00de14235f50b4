"""Comparisons with the software and the machines of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

from .install import PYPROJECT, install


@nox.session
def exchange(session: nox.Session) -> None:
    """Compare spikes with SpikingJelly and snnTorch through NIR, and figures with NeuroBench; try the nets of the benchmarks."""
    install(session, extras="all", groups=("test", "exchange"))
    session.run("pytest", "tests/nir", "tests/inspect/test_neurobench.py", "tests/benchmarks/test_nets.py", *session.posargs)
    session.run("pytest", "-rs", "tests/docs/test_blocks.py", "-k", "other-libraries")


@nox.session
def cross(session: nox.Session) -> None:
    """Compile exported C for a microcontroller with zig, and run its test vectors on a 32-bit processor."""
    install(session, extras="all", groups=("test",))
    session.install("ziglang")
    session.run("pytest", "-rs", "tests/emulator/export/test_cross.py", *session.posargs)


@nox.session
def cortex(session: nox.Session) -> None:
    """Run exported C on Cortex-M0+, M4 and M33 in QEMU, and record sizes and instructions (needs apt's compiler and QEMU).

    apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm; `-- --name zen4` names the records' folder.
    """
    install(session, extras="all", groups=("test", "bench"))
    session.run("pytest", "-rs", "tests/emulator/export/test_cross.py")
    session.run("python", "-m", "benchmarks.run", "--full", "--section", "cortex", *session.posargs)


@nox.session
def rtl(session: nox.Session) -> None:
    """Test, lint, simulate and place the core of `export_rtl`, and record it; it installs none of the tools that this needs.

    `-- --name zen4` names the records' folder.
    """
    if missing := [tool for tool in RTL_TOOLS if shutil.which(tool) is None]:
        session.error(f"not found: {', '.join(missing)}. On Debian and Ubuntu: apt-get install {' '.join(missing)}")
    install(session, extras="all", groups=("test",))
    session.run("pytest", "-rs", "tests/emulator/export/test_rtl.py")
    session.run("python", "-m", "benchmarks.run", "--full", "--section", "rtl", *session.posargs)


#: Programs, and the packages of Debian that hold them.
RTL_TOOLS = ("make", "g++", "verilator", "yosys", "nextpnr-ecp5")


@nox.session
def oracle(session: nox.Session) -> None:
    """Compare the emulator's core, membranes and spikes of every step, with what others compute.

    They are nengo-loihi 1.1's emulator, xylosim 0.1.3, and Intel's vectors of lava-dl 0.6.0, fetched unless their folder is
    named: `nox -s oracle -- FOLDER`.
    """
    folder = Path(session.create_tmp()).resolve()
    vectors = Path(*session.posargs[:1]) if session.posargs else folder / "tests/lava/lib/dl/netx/gts/pilotnet_lif"
    session.install(*nox.project.dependency_groups(PYPROJECT, "oracle"))
    session.run("python", "tests/oracle/nengo_networks.py", "random", "400", str(folder / "oracle.npz"))
    if not vectors.exists():
        wheel = ("--no-deps", "--only-binary=:all:", "--python-version=3.10", "lava-dl==0.6.0")
        session.run("python", "-m", "pip", "download", "-d", str(folder), *wheel)
        session.run("python", "-m", "zipfile", "-e", str(next(folder.glob("lava_dl*.whl"))), str(folder))
    session.notify("oracle_compare", [str(folder / "oracle.npz"), str(vectors.resolve())])


@nox.session
def oracle_compare(session: nox.Session) -> None:
    """The second half of `oracle`: our core on what it made and fetched."""
    if len(session.posargs) != 2:
        session.error("run `nox -s oracle`, which goes on with this session")
    install(session, extras="all", groups=("test",))
    session.install("xylosim==0.1.3")
    env = dict(zip(("FIRSTSPIKE_ORACLE", "FIRSTSPIKE_LAVA"), session.posargs, strict=True))
    session.run("pytest", "-s", "tests/oracle", env=env)
    session.run("python", "-m", "tests.emulator.held_out", "1000000")  # pixels to class: core, exported C, NumPy twins
