"""What `paper` and `benchmarks` share; not installed with the package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""
