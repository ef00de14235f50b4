"""Check the claims of README.md: run the commands of docs/claims.md that take less than ten minutes.

python -m tools.claims            the commands of the table, one after another; exit status 1 where one fails
python -m tools.claims CHECK      one of the checks that the table calls: first-lines, first-answer, step-time
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from . import ROOT

PAGE = ROOT / "docs" / "claims.md"
#: A claim whose command takes this long is not run.
MOST_MINUTES = 10


@dataclass(frozen=True)
class Claim:
    """A row of the table: a sentence, the command that checks it, and the minutes that it takes on two cores."""

    text: str
    command: str
    minutes: float


def claims(page: str) -> list[Claim]:
    """The rows of the table; ValueError for a row that does not have five cells, a command and minutes."""
    found = []
    for line in page.splitlines():
        if not line.startswith("| ") or line.startswith(("| claim", "| :")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        command = re.fullmatch("`([^`]+)`", cells[1]) if len(cells) == 5 else None
        if command is None or not re.fullmatch(r"[\d.]+", cells[2]):
            raise ValueError(f"a row must be | claim | `command` | minutes | record | accepted range |, got {line!r}")
        found.append(Claim(cells[0], command[1], float(cells[2])))
    return found


def first_lines() -> None:
    """The block of README.md trains a net; it and its program on an emulated chip have nearly the same accuracy."""
    block = re.search("```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block[1], {})
    trained, chip = map(float, re.findall(r"0\.\d+", printed.getvalue()))
    within("accuracy", trained, 0.955, 0.99)
    within("accuracy on the chip beyond it", chip - trained, -0.004, 0.004)


def first_answer() -> None:
    """A shipped step-by-step net that stops after two of its four steps."""
    from firstspike import data, models, train

    found = train.evaluate(models.load_pretrained("mnist-cnn"), data.load("mnist", train=False))
    within("accuracy", found.accuracy, 0.993, 0.997)
    assert found.stopped is not None
    within("accuracy if stopped after two steps", found.stopped[1], 0.992, 0.997)


def step_time() -> None:
    """A training step of windows takes about as long as the ReLU net's: the section `windowed`, in its quick form."""
    from benchmarks.records import RESULTS, load

    subprocess.run([sys.executable, "-m", "benchmarks.run", "--section", "windowed", "--name", "claims"], cwd=ROOT, check=True)
    for row in load(RESULTS / "claims" / "windowed.json"):
        if row["what"] == "training":
            times = row["times"]
            within(f"{row['work']}, T = {row['steps']}: time", times["windowed"]["median"] / times["relu"]["median"], 0.6, 1.6)


def within(what: str, value: float, low: float, high: float) -> None:
    """Print a value with its accepted range; exit with status 1 where it lies outside."""
    line = f"{what}: {value:.4g}, accepted {low:g} to {high:g}"
    print(line)
    if not low <= value <= high:
        sys.exit(f"outside: {line}")


CHECKS: dict[str, Callable[[], None]] = {"first-lines": first_lines, "first-answer": first_answer, "step-time": step_time}


def main() -> int:
    """Run the commands of the table; the number of those that failed."""
    failed = []
    for claim in claims(PAGE.read_text(encoding="utf-8")):
        if claim.minutes < MOST_MINUTES:
            print(f"\n{claim.text}\n$ {claim.command}", flush=True)
            if subprocess.run(claim.command, shell=True, cwd=ROOT).returncode:
                failed.append(claim.text)
    print("\nfailed: " + "; ".join(failed) if failed else "\nAll claims that were checked hold.")
    return len(failed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CHECKS[sys.argv[1]]()
    else:
        sys.exit(main())
