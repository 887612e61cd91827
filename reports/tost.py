"""Two one-sided tests: are paired differences within a margin, outside it, or is it not shown?

Of n differences d with mean m and standard deviation s, on n - 1 degrees of freedom,

    90 % interval   m +- t_0.95 s / sqrt(n)
    p               the greater of P(T > (m + margin) / (s / sqrt(n))), P(T < (m - margin) / (s / sqrt(n)))

The interval lies within (-margin, margin) exactly where both tests reject at 5 %, p < 0.05 (Schuirmann
1987). A test of *no difference* that rejects nothing shows nothing, least of all equality: none is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reports.statistics import below, student_t

ALPHA = 0.05  # of each one-sided test
LEAST = (
    5  # differences: of fewer the interval is more t than data (t_0.95 is 2.1 for 5, 2.9 for 3, 6.3 for 2)
)


@dataclass(frozen=True)
class Paired:
    """The mean of the differences with its 90 % interval."""

    mean: float
    error: float  # s / sqrt(n), the standard error of the mean
    freedom: int  # n - 1

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self._reach

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self._reach

    @cached_property
    def _reach(self) -> float:
        return student_t(1 - ALPHA, self.freedom) * self.error

    def p(self, margin: float) -> float:
        """The greater p of the two tests, that of the nearer end; 0 or 1 where all differences are one."""
        beyond = abs(self.mean) - margin
        if self.error == 0:
            return 0.0 if beyond < 0 else 1.0
        return below(beyond / self.error, self.freedom)

    def verdict(self, margin: float) -> str:
        """By where the interval lies."""
        if -margin < self.low and self.high < margin:
            return "equivalent"
        return "different" if self.low > margin or self.high < -margin else "not shown"


def paired(differences: Sequence[float]) -> Paired:
    """The test of at least LEAST finite differences."""
    d = np.asarray(differences, np.float64)
    largest = float(np.abs(d).max()) or 1.0  # squares of what is left can neither overflow nor vanish
    mean, spread = float((d / largest).mean()), float((d / largest).std(ddof=1))
    return Paired(largest * mean, largest * spread / math.sqrt(len(d)), len(d) - 1)
