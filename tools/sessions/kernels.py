"""The kernels: under sanitizers, without intrinsics, and for CUDA."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

from .install import install, output, processor_flags


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the kernel and emulator tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer, on two threads.

    The newest instruction set of this processor runs all of them, an older one the tests of the bindings; with the argument
    --newest the older one is left out, and with --every, once a release, v2, v3 and v4 run all of them, mutated files included.
    Other arguments go to pytest, in place of the tests chosen here.
    """
    sets = ("v3", "v4") if "avx512bw" in processor_flags() else ("v3",)
    arguments = [text for text in session.posargs if text not in ("--newest", "--every")]
    every = "--every" in session.posargs
    if every:
        sets = ("v2", *sets)
    elif "--newest" in session.posargs:
        sets = sets[-1:]
    defines = ("FIRSTSPIKE_SANITIZE=ON", f"FIRSTSPIKE_ISAS={';'.join(sets)}")
    install_for(session, arguments, defines)
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        output(session, compiler, f"-print-file-name={name}", external=True)
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        # CPython and torch leak by design at exit; failed allocations raise MemoryError, as elsewhere. The stack frames that
        # the search for use after return keeps on the heap are aligned to 32 bytes, and a spilled AVX-512 register needs 64.
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",  # the test processes share the cores: a thread that waits must not spin
        "FIRSTSPIKE_FUZZ_FILES": os.environ.get("FIRSTSPIKE_FUZZ_FILES", "1000"),  # mutated program files
    }
    for name in sets:
        environment["FIRSTSPIKE_ISA"] = name
        session.run("python", "-c", "from firstspike._base.kernels import cpu; assert cpu.sanitized", env=environment)
        chosen = arguments or (SANITIZED if every or name == sets[-1] else ["tests/bindings"])
        session.run("pytest", "-n", "auto", "-m", "not slow", *chosen, env=environment)


@nox.session
def sanitize_threads(session: nox.Session) -> None:
    """Run each pass of the kernels on four separate threads under ThreadSanitizer, without Python."""
    session.install("pybind11>=3", "cmake", "ninja")
    folder = "build/sanitize-threads"
    pybind = output(session, "python", "-m", "pybind11", "--cmakedir")
    settings = {
        "pybind11_DIR": pybind,
        "Python_EXECUTABLE": Path(session.bin) / "python",
        "FIRSTSPIKE_SANITIZE": "thread",
        "FIRSTSPIKE_BENCH": "ON",
    }
    session.run("cmake", "-S", ".", "-B", folder, "-G", "Ninja", *(f"-D{key}={value}" for key, value in settings.items()))
    session.run("cmake", "--build", folder, "--target", "firstspike_bench")
    layers = ("linear:300-200", "conv:16x12x12-40", "conv:3x20x20-16")
    # With its addresses at random the sanitiser does not find room for its tables on newer kernels of Linux.
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    for layer in layers:
        for kernel in ("forward", "inference", "weight_gradient", "input_gradient"):
            options = ("batch=33", "threads=4", "seconds=0.05")
            command = [*fixed, f"{folder}/firstspike_bench", kernel, layer, *options]
            session.run(*command, external=True, env={"TSAN_OPTIONS": "halt_on_error=1"})


def install_for(session: nox.Session, tests: list[str], defines: tuple[str, ...]) -> None:
    """Install the package with what the tests need that are named; those of `SANITIZED`, by default, need little."""
    install(session, extras="all" if tests else "", groups=("test" if tests else "kernels",), defines=defines)


SANITIZED = (
    "tests/bindings",
    "tests/functional",
    "tests/nn/test_pool.py",
    "tests/nn/test_prepacked.py",
    "tests/emulator/program/test_engine.py",
    "tests/emulator/test_golden.py",
    "tests/emulator/test_inference.py",
    "tests/emulator/test_windowed.py",
    "tests/emulator/program/test_serialization.py",
    "tests/emulator/program/test_loader_fuzz.py",
)


@nox.session
def generic(session: nox.Session) -> None:
    """Run the kernel tests on the build without intrinsics, which other processors than x86-64 get."""
    kernel_tests(session, "generic", 4)


@nox.session
def avx512(session: nox.Session) -> None:
    """Run the kernel tests on the code for AVX-512, with loops for its instructions (tests/cpp/avx512_by_loops.h)."""
    kernel_tests(session, "v4", 16, "FIRSTSPIKE_AVX512_BY_LOOPS=ON")


def kernel_tests(session: nox.Session, isa: str, lanes: int, *defines: str) -> None:
    """Run the kernel tests, or those that are named, on a build of one instruction set, with so many lanes in a vector."""
    install_for(session, session.posargs, (f"FIRSTSPIKE_ISAS={isa}", *defines))
    environment = {"FIRSTSPIKE_ISA": isa, "OMP_NUM_THREADS": "1"}
    check = f"from firstspike._base.kernels import cpu; assert cpu.lanes == {lanes}"
    session.run("python", "-c", check, env=environment)
    session.run("pytest", "-n", "auto", "-m", "not slow", *(session.posargs or SANITIZED), env=environment)


@nox.session
def cuda(session: nox.Session) -> None:
    """Compile the CUDA module where nvcc is found, and check that its kernels neither spill nor use local arrays."""
    if shutil.which("nvcc") is None:
        session.skip("nvcc is not on the PATH")
    session.install("pybind11>=3", "cmake", "ninja")
    folder = "build/cuda"
    pybind = output(session, "python", "-m", "pybind11", "--cmakedir")
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
    report = output(session, "cmake", "--build", folder, "--target", "_cuda", "--verbose")
    Path(folder, "resources.log").write_text(report)
    session.run("python", "tests/cuda/resources.py", f"{folder}/resources.log")
