"""Everything that is run: `nox -l` lists the sessions; those marked with an asterisk run without a name.

nox -s tests                     the tests, what README and CI call
nox -s reproduce                 the paper: trains, then writes tables, figures and paper/results/quick/report.html
nox -s reproduce -- --profile paper
nox -s claims                    the claims of README.md that take less than ten minutes each
nox -s bench                     speed beside the peers (-- --full: everything, half an hour or more)
nox -s docs                      the documentation site, build/docs/site/index.html
nox -s faults                    kills, full disk, read-only folders and others, provoked; writes docs/faults.md
nox -s wheel                     a wheel for old systems, tested without a compiler
nox -s generic, nox -s avx512    the kernels of other processors: without intrinsics, with AVX-512
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from tools.sessions import everyday, kernels, others, wheels  # noqa: F401  # importing them registers their sessions

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"  # uv would fetch a CUDA build of torch
nox.options.reuse_venv = "yes"  # pip still brings what changed; a second `nox -s reproduce` takes seconds
nox.options.sessions = ["lint", "tests"]
