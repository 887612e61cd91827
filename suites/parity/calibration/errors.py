"""What one comparison says about a constant of ``tolerances.toml``, and the distribution of many.

Each rule of the gate has a statistic of its own, the least constant that would let the
comparison pass (e is the oracle's own float32 error on the tensor, u the unit roundoff):

float64.roundoffs   err / (u kappa)
float64.training    err / (u kappa), kappa of the training so far
float32.roundoffs   err / u where e < u, so that the rule's second term stands alone
float32.factor      (err - r u / m) / e elsewhere, r = float32.roundoffs, m = calibration.float32:
                    a factor of m times the largest leaves every error m times below its tolerance
float32.trajectory  the same at level 5
declared.*          as float32's, e scaled to the declared precision and u its own
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suites.parity.comparator import Finding
from suites.parity.level import Level
from suites.parity.tolerances import CALIBRATION_MARGINS, constant, table
from suites.precision import roundoff

CONSTANTS = (
    "float64.roundoffs",
    "float64.training",
    "float32.roundoffs",
    "float32.factor",
    "float32.trajectory",
    "declared.roundoffs",
    "declared.factor",
    "declared.trajectory",
)
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
DIGITS = 4  # that a record keeps of a number


@dataclass(frozen=True)
class Sample:
    """One comparison that a constant decides."""

    constant: str
    statistic: float
    seed: int
    level: int
    finding: Finding


def samples(level: Level, dtype: str, seed: int) -> list[Sample]:
    """The comparisons of a level that a constant decides.

    Exact ones (tolerance 0) and errors that are no number rest on none.
    """
    counted = [f for f in level.findings if f.tolerance > 0 and math.isfinite(f.error)]
    return [
        Sample(*statistic(finding, dtype, level.level), seed, level.level, finding) for finding in counted
    ]


def statistic(finding: Finding, dtype: str, level: int) -> tuple[str, float]:
    """Which constant decides a comparison, and the least value of it that lets the comparison pass."""
    u = roundoff(dtype)
    if dtype == "float64":
        name = "float64.training" if level in (4, 5) else "float64.roundoffs"
        return name, finding.ratio * constant(name)
    of = table(dtype)
    roundoffs = constant(f"{of}.roundoffs")
    name = f"{of}.trajectory" if level == 5 else f"{of}.factor"
    oracle = (finding.tolerance - roundoffs * u) / constant(name)
    if oracle < u:
        return f"{of}.roundoffs", finding.error / u
    beyond = max(0.0, finding.error - roundoffs * u / CALIBRATION_MARGINS[of])
    return name, beyond / oracle


def summary(many: Iterable[Sample]) -> list[dict[str, Any]]:
    """Per level and constant the distribution, as a record keeps it."""
    grouped: dict[tuple[int, str], list[Sample]] = {}
    for sample in many:
        grouped.setdefault((sample.level, sample.constant), []).append(sample)
    return [
        {"level": level, "constant": name, **_distribution(group)}
        for (level, name), group in sorted(grouped.items())
    ]


def _distribution(group: list[Sample]) -> dict[str, Any]:
    """Quantiles of the statistic and of error / tolerance; a histogram, which can be added to others'."""
    statistics = np.array([sample.statistic for sample in group])
    ratios = np.array([sample.finding.ratio for sample in group])
    worst = max(group, key=lambda sample: sample.statistic)
    return {
        "comparisons": len(group),
        "statistic": _quantiles(statistics),
        "ratio": _quantiles(ratios),
        "histogram": histogram(statistics.tolist()),
        "worst": {
            "tensor": worst.finding.tensor,
            "where": worst.finding.where,
            "seed": worst.seed,
            "error": rounded(worst.finding.error),
            "tolerance": rounded(worst.finding.tolerance),
        },
    }


def histogram(statistics: Iterable[float]) -> dict[str, int]:
    """How many lie in [2^(k-1), 2^k), by k; "zero" counts those that are exactly zero."""
    found = Counter("zero" if value == 0 else str(math.frexp(value)[1]) for value in statistics)
    return dict(sorted(found.items()))


def rounded(value: float) -> float:
    """To DIGITS significant digits."""
    return float(f"{value:.{DIGITS - 1}e}")


def _quantiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """QUANTILES: of the values that occur, the one at or above each."""
    found = np.quantile(values, QUANTILES, method="higher")
    return [rounded(float(value)) for value in found]
