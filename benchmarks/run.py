"""Run benchmarks: `python -m benchmarks.run [--full] [--section steps ...] [--name NAME] [--resume] [--tables]`.

Each section runs in a separate process and writes benchmarks/results/<quick|full|NAME>/<section>.json; then the tables
and figures are made from the records alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tools import ROOT

from . import sections

#: What keeps firstspike, torch, oneDNN and MKL from AVX-512.
AVX2 = {
    "FIRSTSPIKE_ISA": "v3",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, then write the pages; the number of sections that failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"argument --threads: must be at least 1, got {options.threads}")
    if options.inside:
        return _measure(options)
    if options.sweep:
        from . import thresholds

        thresholds.main()
        return 0
    chosen = options.section or [n for n in sections.NAMES if options.full or n not in sections.LONG]
    failed = []
    for name in [] if options.tables else chosen:
        command = [
            sys.executable,
            "-m",
            "benchmarks.run",
            "--inside",
            "--section",
            name,
            "--threads",
            str(options.threads),
        ]
        command += ["--full"] * options.full + ["--resume"] * options.resume
        command += ["--name", options.name] if options.name else []
        if subprocess.run(command, cwd=ROOT, env=_environment(name, options.threads) | (AVX2 if options.avx2 else {})).returncode:
            failed.append(name)
    from . import page
    from .session import Session

    page.write(Session(full=options.full, name=options.name).folder)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--section", nargs="+", choices=sections.NAMES, help="only these sections")
    parser.add_argument("--full", action="store_true", help="everything, with many rounds; half an hour or more")
    parser.add_argument("--name", help="of the records' folder, to keep those of another machine (default: full or quick)")
    parser.add_argument("--resume", action="store_true", help="keep the cells that were measured, measure the others")
    parser.add_argument("--tables", action="store_true", help="measure nothing: tables and figures from the records")
    parser.add_argument("--sweep", action="store_true", help="measure both sides of the plan's thresholds, and print them")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of torch (default: 2)")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512, as on a processor that has AVX2 alone")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def _measure(options: argparse.Namespace) -> int:
    """One section, in this process."""
    import torch

    from .session import Session

    torch.set_num_threads(options.threads)
    session = Session(
        full=options.full,
        resume=options.resume,
        threads=options.threads,
        name=options.name,
    )
    for name in options.section:
        sections.section(name).measure(session)
    return 0


def _environment(section: str, threads: int) -> dict[str, str]:
    """OpenMP with as many threads as torch; the repository importable; and glibc told to keep what is freed, but in
    `sections.DEFAULT_ALLOCATOR`: dense trains of 100 MB would come as fresh pages at every step, half of the peers' time.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(64 << 30)}
    return {
        **os.environ,
        **({} if section in sections.DEFAULT_ALLOCATOR else kept),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(paths),
    }


if __name__ == "__main__":
    sys.exit(main())
