"""What is run most: the tests, style and types, the site, the paper, the benchmarks."""

from __future__ import annotations

from pathlib import Path

import nox

from .install import ALL_SETS, PYPROJECT, install, output


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, with one process per core; arguments go to pytest.

    With the argument --older, run the tests of kernels under each older instruction set of this processor.
    """
    older = "--older" in session.posargs
    install(session, extras="all", groups=("test",), defines=(f"FIRSTSPIKE_ISAS={ALL_SETS}",) if older else ())
    environment = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}  # the processes fill the cores already
    arguments = [text for text in session.posargs if text != "--older"]
    if not older:
        session.run("pytest", "-n", "auto", *arguments, env=environment)
        return
    code = "from firstspike import backends; print(*backends()['cpu']['available'][:-1])"
    for name in output(session, "python", "-c", code).split():
        environment["FIRSTSPIKE_ISA"] = name
        session.run("pytest", "-n", "auto", "-m", "not slow", *(arguments or OF_KERNELS), env=environment)


#: Without the tests of the emulator's core alone: it takes the newest instruction set, whatever FIRSTSPIKE_ISA says.
OF_KERNELS = (
    "tests/functional",
    "tests/test_reference.py",
    "tests/emulator/test_inference.py",
    "tests/emulator/test_invariants.py",
    "tests/emulator/test_residual.py",
)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    typed = [r for r in PYPROJECT["project"]["dependencies"] if not r.startswith(("pandas", "scipy", "tqdm"))]
    groups = nox.project.dependency_groups(PYPROJECT, "lint")
    session.install(*groups, *typed, "matplotlib", "pytest", "hypothesis")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = sorted(str(path) for kind in ("h", "cpp", "cu") for folder in SOURCES for path in Path(folder).glob(f"**/*.{kind}"))
    session.run("clang-format", "--dry-run", "--Werror", *sources, silent=True)
    session.run("mypy")
    session.run("lint-imports", env={"PYTHONPATH": "python"})


SOURCES = ("cpp", "tests", "benchmarks")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site in build/docs/site; a warning is an error. Arguments go to mkdocs."""
    install(session, extras="all", groups=("docs",))
    environment = {"NO_MKDOCS_2_WARNING": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}  # it trains a small net
    session.run("mkdocs", "build", "--strict", "--quiet", *session.posargs, env=environment)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Train and write every table and figure of the paper; resumes where it stopped. Arguments go to paper/reproduce.py."""
    install(session, extras="all,cluster")
    session.run("python", "paper/reproduce.py", *session.posargs, env={"MPLBACKEND": "Agg"})


@nox.session
def claims(session: nox.Session) -> None:
    """Check the claims of README.md that take less than ten minutes each (docs/claims.md)."""
    install(session, extras="all", groups=("test", "bench"))
    session.run("python", "-m", "tools.claims", env={"MPLBACKEND": "Agg"})


@nox.session
def faults(session: nox.Session) -> None:
    """Provoke faults from outside, such as kills and a full disk; write docs/faults.md. Arguments name trials."""
    install(session, extras="all,cluster")
    session.run("python", "-m", "tools.faults", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory beside the peers; arguments go to benchmarks/run.py (--full, --section NAME ...)."""
    install(session, extras="all", groups=("bench",))
    session.run("python", "-m", "benchmarks.run", *session.posargs, env={"MPLBACKEND": "Agg"})
