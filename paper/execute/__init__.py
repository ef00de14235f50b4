"""Executors: they take runs and return outcomes, in any order, and decide what runs where."""

from .outcome import Outcome, Task

__all__ = ["Outcome", "Task"]
