"""What the code promises about its own structure."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "firstspike"
SOURCES = [
    path
    for folder, kinds in {"cpp": ("*.h", "*.cpp", "*.cu", "*.cuh"), "python": ("*.py",), "tests": ("*.py",)}.items()
    for kind in kinds
    for path in sorted((ROOT / folder).rglob(kind))
]

# Each layer imports only from those before it, or from itself.
LAYERS = [
    {"_checks", "_extension", "_fields", "_files", "_geometry", "_provenance", "_toml", "energy", "report"},
    {"ops"},
    {"spikes", "surrogate"},
    {"functional", "reference"},
    {"encode", "decode", "init"},
    {"nn"},
    {"models"},
    {"inspect"},
    {"data"},
    {"nir"},
    {"emulator"},
    {"train"},
    {"cli"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
FREE = {"__init__", "__main__", "_version", "version"}


def includes(path: Path) -> list[str]:
    """The headers that a C++ file includes."""
    return re.findall(r"^\s*#\s*include\s*[<\"]([^>\"]+)[>\"]", path.read_text(), re.MULTILINE)


FOREIGN = re.compile(r"torch|ATen|c10|Python\.h|pybind11|cuda|cooperative_groups|cub/|thrust")


def foreign(headers: list[str]) -> list[str]:
    """Those that belong to torch, Python or CUDA."""
    return [name for name in headers if FOREIGN.search(name)]


def test_foreign_headers_are_recognised() -> None:
    bad = ["torch/extension.h", "ATen/ATen.h", "Python.h", "pybind11/pybind11.h", "cuda_runtime.h", "../cuda/launch.h"]
    assert foreign(["cstdint", "macros.h", "../core/layer.h", *bad]) == bad


@pytest.mark.parametrize("folder", ["core", "cpu"])
def test_kernels_know_no_torch_python_or_cuda(folder: str) -> None:
    files = [path for path in SOURCES if path.is_relative_to(ROOT / "cpp" / folder)]
    assert files
    assert {str(p.relative_to(ROOT)): bad for p in files if (bad := foreign(includes(p)))} == {}


def test_core_is_headers_that_include_only_core() -> None:
    files = list((ROOT / "cpp" / "core").iterdir())
    assert files and {p.suffix for p in files} == {".h"}
    for path in files:
        for name in includes(path):
            own = (path.parent / name).exists()
            assert own or ("/" not in name and "." not in name), f"{path.name} includes {name}"
            assert not own or (path.parent / name).resolve().parent == path.parent, f"{path.name} includes {name}"


def test_every_header_has_an_include_guard() -> None:
    headers = [p for p in SOURCES if p.suffix in (".h", ".cuh")]
    assert headers
    assert [str(p.relative_to(ROOT)) for p in headers if "#pragma once" not in p.read_text()] == []


def imports(path: Path) -> set[str]:
    """Top-level modules of firstspike that a file imports anywhere, relative imports resolved."""
    here = ["firstspike", *path.relative_to(PACKAGE).with_suffix("").parts]
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in _imported(node, here)}


def _imported(node: ast.AST, here: list[str]) -> set[str]:
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = here[: len(here) - node.level] if node.level else []
        base = base + (node.module.split(".") if node.module else [])
        names = [base] if len(base) > 1 else [[*base, alias.name] for alias in node.names]
    else:
        return set()
    return {name[1] for name in names if name[0] == "firstspike" and len(name) > 1}


def test_imports_are_found() -> None:
    here = ["firstspike", "nn", "linear"]
    source = (
        "import firstspike.train, torch\nfrom .. import functional, init\nfrom ..spikes import X\nfrom . import conv\n"
    )
    source += "def f():\n    from firstspike.models import build\n    from firstspike import SpikeTimes\n"
    found = {name for node in ast.walk(ast.parse(source)) for name in _imported(node, here)}
    assert found == {"train", "functional", "init", "spikes", "nn", "models", "SpikeTimes"}


def test_every_module_has_a_layer() -> None:
    modules = {p.stem if p.suffix == ".py" else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    modules -= FREE | {"__pycache__"}
    assert sorted(m for m in modules if m not in RANK) == []


def test_python_imports_go_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        module = "cli" if parts[-1] == "cli.py" else parts[0].removesuffix(".py")  # a command stands above its package
        if module in FREE:
            continue
        for name in imports(path) & set(RANK):
            if RANK[name] > RANK[module]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_report_stands_alone() -> None:
    used = {name for path in (PACKAGE / "report").rglob("*.py") for name in imports(path)}
    assert used <= {"report", "_files"}


def test_files_are_short() -> None:
    assert len(SOURCES) > 50
    assert {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) >= 300} == {}
