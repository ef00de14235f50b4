"""Comparisons with the software and the machines of others."""

from __future__ import annotations

from pathlib import Path

import nox

from .install import PYPROJECT, install


@nox.session
def exchange(session: nox.Session) -> None:
    """Exchange nets with SpikingJelly and snnTorch through NIR, and compare all spikes; and the nets of the benchmarks."""
    install(session, extras="all", groups=("test", "exchange"))
    session.run("pytest", "tests/nir", "tests/benchmarks/test_nets.py", *session.posargs)


@nox.session
def cross(session: nox.Session) -> None:
    """Compile exported C for a microcontroller with zig, and run its test vectors on a 32-bit processor."""
    install(session, extras="all", groups=("test",))
    session.install("ziglang")
    session.run("pytest", "-rs", "tests/emulator/export/test_cross.py", *session.posargs)


@nox.session
def oracle(session: nox.Session) -> None:
    """Compare the emulator's core with nengo-loihi 1.1's emulator, membranes and spikes of every step."""
    file = Path(session.create_tmp()).resolve() / "oracle.npz"
    session.install(*nox.project.dependency_groups(PYPROJECT, "oracle"))
    session.run("python", "tests/oracle/nengo_networks.py", "random", "400", str(file))
    session.notify("oracle_compare", [str(file)])


@nox.session
def oracle_compare(session: nox.Session) -> None:
    """The second half of `oracle`: our core on the networks that it wrote."""
    if not session.posargs:
        session.error("name the file that `nox -s oracle` wrote, or run that session, which goes on with this one")
    install(session, extras="all", groups=("test",))
    session.run("pytest", "-s", "tests/oracle", env={"FIRSTSPIKE_ORACLE": session.posargs[0]})
