"""Run pip and apt-get: announced, quiet, bounded in time, errors as one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .deadline import Deadline
from .progress import STOP, say


class CommandFailed(OSError):
    """A command that is missing, failed or took too long; the message is one line that says why."""


def run(arguments: Sequence[str], *, folder: Path, deadline: Deadline, shown: str) -> str:
    """Run a command in a folder and return what it printed. Before that, stderr says what runs and how to stop it.

    Args:
        arguments: the command.
        folder: where it runs.
        deadline: when it is ended.
        shown: the command as it is announced.

    Raises:
        CommandFailed: if it could not be started, ended with an error, or ran beyond the deadline.
    """
    timeout = deadline.left()
    if deadline.passed:
        raise CommandFailed(f"gave up after {deadline.seconds:.0f} s")
    say(f"running `{shown}`, at most {timeout:.0f} s; {STOP}")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(
            arguments, cwd=folder, env=environment, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"gave up after {deadline.seconds:.0f} s") from error
    except OSError as error:
        raise CommandFailed(f"could not start {arguments[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines[-1:] or ["no output"]
        raise CommandFailed(f"exit {done.returncode}: {told[-1][:300]}")
    return done.stdout
