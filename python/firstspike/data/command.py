"""Run pip and apt-get: quiet, bounded in time, errors as one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class CommandFailed(OSError):
    """A command that is missing, failed or took too long; the message is one line that says why."""


def run(arguments: Sequence[str], *, folder: Path, timeout: float = 600.0) -> str:
    """Run a command in a folder and return what it printed.

    Raises:
        CommandFailed: if it could not be started, ended with an error, or ran longer than `timeout` seconds.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(
            arguments, cwd=folder, env=environment, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"gave up after {timeout:.0f} s") from error
    except OSError as error:
        raise CommandFailed(f"could not start {arguments[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines[-1:] or ["no output"]
        raise CommandFailed(f"exit {done.returncode}: {told[-1][:300]}")
    return done.stdout
