"""Medians, intervals and ratios of timings.

The unit of repetition is the pass: a fresh process in a new order, after the
machine has drifted. Rounds within a pass are cheap and alike, so an interval from
rounds alone is too narrow. Hence Student's t over the passes, in logarithms, where a
ratio is a difference. (A percentile bootstrap of three passes must be widened by 2.7 to hold
what it promises, and where rounds are resampled too it counts their scatter twice.) Of a
single pass the rounds are all there is: they are resampled.

Random numbers are uniform doubles from named seeds, the one stream that NumPy
keeps stable (NEP 19): a published report comes out the same next year.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Blocks = Mapping[int, Sequence[float]]  # seconds of the rounds of each block of a pass

RESAMPLES = 2000  # the ends of a 95 % interval then rest on 50 draws each
LEVEL = 0.95  # of an interval
# Of the ratio of two rows, which says whether they differ: of equal rows 1 in 50 is called different. At 95 %
# it would be 1 in 20, as many as there may be at most.
SEPARATES = 0.98
NOISY = 0.10  # IQR/median at which torch.utils.benchmark warns too
MOST_DIGITS = 5  # significant digits, however narrow the interval

Z_975 = 1.960


@dataclass(frozen=True)
class Logs:
    """The logarithm of a positive quantity: its estimate, and RESAMPLES draws, made when asked for."""

    value: float
    draw: Callable[[], Floats]

    @functools.cached_property
    def draws(self) -> Floats:
        """As if it had been measured again, so many times."""
        return self.draw()

    def __sub__(self, other: Logs) -> Logs:
        """The ratio of two quantities measured independently."""
        return Logs(self.value - other.value, lambda: self.draws - other.draws)


@dataclass(frozen=True)
class Estimate:
    """A quantity with its interval, from so many passes."""

    value: float
    low: float
    high: float
    passes: int

    @property
    def holds_one(self) -> bool:
        """Whether a ratio of exactly 1 is inside the interval."""
        return self.low <= 1.0 <= self.high


def spread(samples: Sequence[float]) -> float:
    """IQR over median."""
    quarter, half, three = np.quantile(np.asarray(samples, np.float64), (0.25, 0.5, 0.75))
    return float((three - quarter) / half)


def median(samples: Sequence[float], *names: str) -> Logs:
    """The median of the rounds of one pass (or block), with rounds resampled."""
    logs = np.log(np.asarray(samples, np.float64))

    def draw() -> Floats:
        drawn: Floats = np.median(logs[_choose(_generator("rounds", *names), len(logs))], axis=1)
        return drawn

    return Logs(float(np.median(logs)), draw)


def paired(slow: Blocks, fast: Blocks, *names: str) -> Logs:
    """The ratio of two rows in a pass: the median over pairs of rounds, of one place in one block.

    A machine that others use runs at another speed from one moment to the next: blocks of one row scatter by
    15 % about their median, the rounds of one by 6 % about its own (100 passes on two shared cores).
    Rounds that are close in time meet the same machine: the ratio of the two medians scatters from pass to
    pass by 1.28 times as much.
    """
    ratios = [
        a / b
        for block in sorted(set(slow) & set(fast))
        for a, b in zip(slow[block], fast[block], strict=False)
    ]
    return median(ratios, *names)


def mean(units: Sequence[Logs], *names: str) -> Logs:
    """The geometric mean over blocks or passes, with these resampled too."""

    def draw() -> Floats:
        draws, n = np.stack([unit.draws for unit in units]), len(units)
        chosen = _choose(_generator("units", *names), n)  # [RESAMPLES, n]
        # A unit chosen twice in one resample must not bring the same draw of its rounds twice.
        shift = (np.arange(RESAMPLES)[:, None] + np.arange(n) * (RESAMPLES // n)) % RESAMPLES
        drawn: Floats = draws[chosen, shift].mean(axis=1)
        return drawn

    return Logs(float(np.mean([unit.value for unit in units])), draw)


def estimate(passes: Sequence[Logs], level: float = LEVEL) -> Estimate:
    """The geometric mean over passes with its interval: Student's t on the passes' logarithms.

    A pass's value holds the scatter of its rounds already, so nothing is resampled. Of one pass, which
    says nothing of others, the percentile interval of its rounds.
    """
    n, values = len(passes), np.array([unit.value for unit in passes])
    middle = float(values.mean())
    if n == 1:
        tails = (1 - level) / 2, (1 + level) / 2
        low, high = (float(end) for end in np.quantile(passes[0].draws, tails))
    else:
        half = student_t((1 + level) / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
        low, high = middle - half, middle + half
    return Estimate(math.exp(middle), math.exp(min(low, middle)), math.exp(max(high, middle)), n)


def apart(old: Sequence[Logs], new: Sequence[Logs], together: int) -> Estimate:
    """New over old, measured in different runs, of at least two passes each: Student's t on the logarithms.

    ``together`` intervals hold all at once in 95 of 100 cases (Bonferroni). No bootstrap: percentiles
    that far out rest on a draw or none, and a pass's value holds the scatter of its rounds already.
    """
    sides = [[unit.value for unit in passes] for passes in (old, new)]
    freedom = len(old) + len(new) - 2
    variance = sum(float(np.var(side, ddof=1)) * (len(side) - 1) for side in sides) / freedom
    half = student_t(1 - 0.05 / (2 * together), freedom) * math.sqrt(
        variance * sum(1 / len(s) for s in sides)
    )
    middle = float(np.mean(sides[1]) - np.mean(sides[0]))
    return Estimate(math.exp(middle), math.exp(middle - half), math.exp(middle + half), min(map(len, sides)))


def student_t(probability: float, freedom: int) -> float:
    """The quantile of Student's t above a half, by halving: its integral is a finite sum."""
    low, high = 0.0, 1.0
    while below(high, freedom) < probability:
        high *= 2
    for _ in range(60):  # beyond a double's precision
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle, freedom) < probability else (low, middle)
    return high


def below(t: float, freedom: int) -> float:
    """The probability of less than t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= k / (k + 1) * math.cos(angle) ** 2
    share = math.sin(angle) * total
    within = (angle + share) * 2 / math.pi if odd else share
    return (1 + within) / 2


def decimals(value: float, low: float, high: float) -> int:
    """Decimal places that the interval supports; negative: tens, hundreds.

    The last digit shown is the first of the half width, or the second where the
    first is a 1; at least one digit of the value, at most MOST_DIGITS.
    """
    first = -math.floor(math.log10(abs(value)))
    half = (high - low) / 2
    if half <= 0:
        return first + MOST_DIGITS - 1
    place = -math.floor(math.log10(half))
    if half * 10.0**place < 2:
        place += 1
    return min(max(place, first), first + MOST_DIGITS - 1)


def cut(value: float, places: int) -> str:
    """The value rounded to so many decimal places, with thousands apart."""
    return f"{round(value, places):,.{max(places, 0)}f}"


def in_words(found: Estimate, factor: float = 1.0) -> str:
    """``1.89 (1.80 to 1.95)``: value and interval times the factor, to the digits that it supports."""
    value, low, high = (factor * x for x in (found.value, found.low, found.high))
    places = decimals(value, low, high)
    return f"{cut(value, places)} ({cut(low, places)} to {cut(high, places)})"


def _choose(generator: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """RESAMPLES times n of 0..n-1, with replacement."""
    return np.floor(n * generator.random((RESAMPLES, n))).astype(np.int64)


def _generator(*names: str) -> np.random.Generator:
    seed = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
