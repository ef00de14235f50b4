"""Every file that a comment, docstring or page names exists: nothing refers to a document outside the repository."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = "py|md|h|cpp|cu|cuh|toml|json|yml|yaml|cff|png|svg|in"
PATH = re.compile(rf"(?<![\w/.:@{{}}*<>~$-])((?:\.\./)*(?:[\w.-]+/)*[\w-]+\.(?:{SUFFIXES}))(?![\w/*{{(])")
FOLDERS = ("", "cpp", "cpp/core", "cpp/cpu", "python", "python/firstspike", "docs")
# Names that are no files of the repository.
FOREIGN = {
    "test_hdf5_nx.py": "of lava-dl",
    "malloc.h": "a header of glibc",
    "run.toml": "a user's file",
    "CFG.toml": "a user's file",
    "CONFIG.toml": "a user's file",
    "raster.png": "a user's file",
    "one.png": "a user's file",
    "membrane.svg": "a user's file",
    "histogram.svg": "a user's file",
    "weights.svg": "a user's file",
    "stopping.svg": "a user's file",
    "fs_network.h": "written by the export to C",
    "fs_vectors.h": "written by the export to C",
    "checkpoint.json": "written by a run",
    "result.json": "written by a run",
}


def comments_of(path: Path) -> str:
    """The comments and docstrings of a source file; a page as it is."""
    text = path.read_text()
    if path.suffix == ".py":
        found = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docs = [ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
        return "\n".join([*found, *(doc for doc in docs if doc)])
    if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
        return "\n".join(re.findall(r"//.*|/\*.*?\*/", text, re.DOTALL if "/*" in text else 0))
    if path.suffix in {".toml", ".txt", ".yml", ".yaml"}:
        return "\n".join(re.findall(r"#.*", text))
    return text


def tracked() -> list[Path]:
    """The files of the repository, or of an unpacked source distribution."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def placeholder(name: str) -> bool:
    """A name that is no file of the repository, or a path with a part in capitals for the reader to fill in."""
    made = (
        name.endswith(("configuration.md", "chip-profile.md", "examples.md")) or "pictures/" in name
    )  # by the build of the site
    return made or name in FOREIGN or re.search(r"(^|/)[A-Z]{3,}/", name) is not None


def test_named_files_exist() -> None:
    files = tracked()
    names = {str(path.relative_to(ROOT)) for path in files}
    leaves = {path.name for path in files}
    missing = {}
    for path in files:
        if path.suffix not in {".py", ".h", ".cpp", ".cu", ".cuh", ".md", ".toml", ".txt", ".yml", ".yaml"}:
            continue
        for name in sorted(set(PATH.findall(comments_of(path)))):
            beside = (path.parent / name).resolve()
            known = beside.exists() or any(f"{folder}/{name}".lstrip("/") in names for folder in FOLDERS)
            if not known and ("/" in name or name not in leaves) and not placeholder(name):
                missing.setdefault(str(path.relative_to(ROOT)), []).append(name)
    assert missing == {}
