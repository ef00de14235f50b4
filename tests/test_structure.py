"""What the code promises about its own structure."""

from __future__ import annotations

import ast
import importlib
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
    if "third_party" not in path.parts
]


def includes(path: Path) -> list[str]:
    """The headers that a C++ file includes."""
    return re.findall(r"^\s*#\s*include\s*[<\"]([^>\"]+)[>\"]", path.read_text(), re.MULTILINE)


FOREIGN = re.compile(r"torch|ATen|c10|Python\.h|pybind11")
CUDA = re.compile(r"cuda|cooperative_groups|cub/|thrust")
FOLDERS = ("core", "cpu", "cuda", "emulator")  # of cpp; each may include from core


def headers_of(folder: str) -> dict[Path, list[str]]:
    """The includes of every file of a folder of cpp."""
    files = {path: includes(path) for path in SOURCES if path.is_relative_to(ROOT / "cpp" / folder)}
    assert files
    return files


def owner(path: Path, name: str) -> str | None:
    """The folder of cpp in which an included file lies; None for a system header."""
    candidates = [base / name for base in (path.parent, ROOT / "cpp", *(ROOT / "cpp" / f for f in FOLDERS))]
    for file in candidates:
        if file.exists() and file.resolve().is_relative_to(ROOT / "cpp"):
            return file.resolve().relative_to(ROOT / "cpp").parts[0]
    return None


@pytest.mark.parametrize("folder", FOLDERS)
def test_kernels_know_no_torch_python_or_cuda(folder: str) -> None:
    for path, names in headers_of(folder).items():
        assert [n for n in names if FOREIGN.search(n)] == [], path
        assert folder == "cuda" or [n for n in names if CUDA.search(n)] == [], path


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_of_cpp_include_one_way(folder: str) -> None:
    """Kernels and emulator build on core, which stands alone; none knows the others, nor the bindings."""
    for path, names in headers_of(folder).items():
        used = {owner(path, name) for name in names} - {None, folder}
        assert used <= {"core"}, path


def test_every_header_is_guarded_and_included() -> None:
    headers = [p for p in SOURCES if p.suffix in (".h", ".cuh")]
    assert headers
    assert [str(p.relative_to(ROOT)) for p in headers if "#pragma once" not in p.read_text()] == []
    files = [p for kind in ("h", "cpp", "cu", "cuh", "in") for f in ("cpp", "tests") for p in (ROOT / f).rglob(f"*.{kind}")]
    included = {Path(name).name for path in files for name in includes(path)}
    assert sorted(str(p.relative_to(ROOT)) for p in headers if p.name not in included) == []


#: Modules whose names `paper`, `benchmarks` and `tools` may import, besides those of the API pages.
OPEN = {"firstspike", "firstspike.report", "firstspike.energy"}


def public_modules() -> set[str]:
    """`OPEN`, and the modules that docs/api shows."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    return OPEN | set(re.findall(r"^::: (firstspike\S*)", pages, re.MULTILINE))


@pytest.mark.parametrize("folder", ["paper", "benchmarks", "tools", "examples"])
def test_what_is_built_on_the_package_imports_public_names(folder: str) -> None:
    """From a public module, a name that it lists in `__all__`; a module of docs/api."""
    modules, wrong = public_modules(), []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "firstspike":
                module, there = importlib.import_module(node.module or ""), node.module in modules
                offered = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
                names = [alias.name for alias in node.names]
                found = [n for n in names if not (there and n in offered) and f"{node.module}.{n}" not in modules]
                wrong += [f"{path.relative_to(ROOT)}: {node.module}.{name}" for name in found]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("firstspike")]
                wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if name not in modules]
    assert wrong == []
