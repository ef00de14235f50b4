"""Executors: they take runs and give back outcomes, in any order; who runs where is their business."""

from .outcome import Outcome, Task

__all__ = ["Outcome", "Task"]
