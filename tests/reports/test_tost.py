"""Two one-sided tests: as SciPy has them, wrong as rarely as they say, and right where there is enough."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from reports.tost import LEAST, paired

MARGIN = 0.01
SERIES = 2000


def drawn(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def verdicts(noise: np.ndarray, shift: float) -> Counter[str]:
    """Over many series of differences, [SERIES, n]."""
    return Counter(paired(list(d)).verdict(MARGIN) for d in shift + noise)


@pytest.mark.parametrize("n", [5, 6, 8, 13, 30])
def test_interval_and_p_are_those_of_scipy(n: int) -> None:
    rng = drawn(n)
    for _ in range(20):
        d = 0.004 * rng.standard_normal() + 0.01 * rng.standard_normal(n)
        test = paired(list(d))
        known = stats.ttest_1samp(d, 0).confidence_interval(0.90)
        assert (test.low, test.high) == pytest.approx((known.low, known.high), rel=1e-11)
        least = stats.ttest_1samp(d, -MARGIN, alternative="greater").pvalue
        most = stats.ttest_1samp(d, MARGIN, alternative="less").pvalue
        assert test.p(MARGIN) == pytest.approx(max(least, most), rel=1e-9, abs=1e-14)


def test_the_interval_is_inside_where_both_tests_reject() -> None:
    rng, found = drawn(1), Counter[str]()
    for _ in range(SERIES):
        n = LEAST + int(8 * rng.random())
        test = paired(list(0.006 * rng.standard_normal() + 0.005 * rng.standard_normal(n)))
        verdict = test.verdict(MARGIN)
        found[verdict] += 1
        assert (verdict == "equivalent") == (test.p(MARGIN) < 0.05)
    assert found["equivalent"] > 100
    assert found["not shown"] > 100


@pytest.mark.parametrize("n", [5, 8, 16])
@pytest.mark.parametrize("tails", ["normal", "laplace"])
@pytest.mark.parametrize("side", [-1, 1])
def test_at_the_margin_one_series_in_twenty_is_called_equivalent_and_no_more(
    n: int, tails: str, side: int
) -> None:
    rng = drawn(100 * n)
    noise = rng.standard_normal((SERIES, n)) if tails == "normal" else rng.laplace(size=(SERIES, n))
    wrong = verdicts(MARGIN / 4 * noise, side * MARGIN)["equivalent"] / SERIES
    assert wrong < 0.05 + 3 * np.sqrt(0.05 * 0.95 / SERIES)
    assert wrong > 0.02  # a test that never says equivalent shows nothing either


def test_skew_costs_what_the_readme_says() -> None:
    """Rows of one quality swap at random, and their differences are symmetric; others need not be."""
    noise = drawn(5).exponential(size=(SERIES, 8)) - 1
    assert verdicts(MARGIN / 4 * noise, MARGIN)["equivalent"] / SERIES == pytest.approx(0.14, abs=0.03)


@pytest.mark.parametrize("shift", [-2 * MARGIN, 2 * MARGIN])
def test_a_planted_difference_beyond_the_margin_is_never_equivalent(shift: float) -> None:
    found = verdicts(MARGIN / 3 * drawn(2).standard_normal((SERIES, 8)), shift)
    assert found["equivalent"] == 0
    assert found["different"] > 0.95 * SERIES


def test_equal_ones_are_found_equivalent() -> None:
    found = verdicts(MARGIN / 3 * drawn(3).standard_normal((SERIES, 8)), 0)
    assert found["equivalent"] > 0.99 * SERIES
    assert found["different"] == 0


def test_what_is_too_noisy_to_tell_is_not_shown_however_large_the_p_of_a_difference() -> None:
    """The usual mistake: a t test that finds no difference is taken for equality."""
    noise = 5 * MARGIN * drawn(4).standard_normal((200, 5))
    unseen = [d for d in noise if stats.ttest_1samp(d, 0).pvalue > 0.05]
    assert len(unseen) > 150
    assert Counter(paired(list(d)).verdict(MARGIN) for d in unseen) == {"not shown": len(unseen)}


@pytest.mark.parametrize(
    ("difference", "verdict", "p"),
    [
        (0.0, "equivalent", 0),
        (MARGIN / 2, "equivalent", 0),
        (MARGIN, "not shown", 1),
        (-2 * MARGIN, "different", 1),
    ],
)
def test_differences_that_are_all_one(difference: float, verdict: str, p: float) -> None:
    """Runs equal to the bit have no scatter to divide by."""
    test = paired([difference] * 8)
    assert (test.low, test.high) == (difference, difference)
    assert (test.verdict(MARGIN), test.p(MARGIN)) == (verdict, p)


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1e200, 1.7e308])
def test_the_largest_and_the_smallest_numbers(scale: float) -> None:
    test = paired([scale, -scale, scale, 0.0, scale])
    assert test.verdict(MARGIN) == ("equivalent" if scale < 1 else "not shown")
    assert 0 <= test.p(MARGIN) <= 1
