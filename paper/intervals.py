"""Differences between two conditions that were run with the same seeds, with an interval, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

#: Of the two-sided intervals.
CONFIDENCE = 0.95
YES, NO, NOT_RESOLVED = "yes", "**no**", "not resolved"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval by Student's t; without an interval (None) where there is one seed."""

    mean: float
    half_width: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """From one value per seed, such as differences between two conditions; ValueError for none."""
        if not values:
            raise ValueError("values must hold at least one number, got none")
        count = len(values)
        if count == 1:
            return cls(values[0], None, 1)
        factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        return cls(fmean(values), factor * stdev(values) / count**0.5, count)

    def above(self, bound: float = 0.0) -> str:
        """Whether the mean lies above `bound`: "yes" or "no" where the interval lies on one side of it, else "not
        resolved". One seed resolves nothing.
        """
        if self.half_width is None:
            return NOT_RESOLVED
        if self.mean - self.half_width > bound:
            return YES
        return NO if self.mean + self.half_width < bound else NOT_RESOLVED

    def text(self, digits: int = 2, *, sign: bool = True) -> str:
        """Such as "+1.20 (+0.31 to +2.09)"; the mean alone for one seed."""
        form = f"{'+' if sign else ''}.{digits}f"
        if self.half_width is None:
            return f"{self.mean:{form}}"
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return f"{self.mean:{form}} ({low:{form}} to {high:{form}})"


def paired(first: dict[int, float], second: dict[int, float]) -> Interval | None:
    """The difference first - second, seed by seed; None where no seed has both. Keys: seeds."""
    common = sorted(set(first) & set(second))
    return Interval.of([first[seed] - second[seed] for seed in common]) if common else None
