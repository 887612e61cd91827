"""Intervals hold what they promise: a planted difference shows, a planted nothing does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from reports import statistics
from reports.statistics import Estimate, Logs

ROUNDS = 25
PASS_NOISE = 0.02  # what a pass adds to one implementation and not to the other
ROUND_NOISE = 0.01
TRIALS = 150


def pass_of(rng: np.random.Generator, seconds: float, *names: str) -> Logs:
    own = seconds * math.exp(PASS_NOISE * rng.standard_normal())
    return statistics.median(list(own * np.exp(ROUND_NOISE * rng.standard_normal(ROUNDS))), *names)


def paired(rng: np.random.Generator, factor: float, passes: int, trial: int) -> Estimate:
    """The ratio of two rows, the first ``factor`` times slower."""
    ratios = [
        pass_of(rng, factor * 1e-3, "a", str(trial), str(number))
        - pass_of(rng, 1e-3, "b", str(trial), str(number))
        for number in range(passes)
    ]
    return statistics.estimate(ratios, statistics.SEPARATES)


def false_winners(passes: int) -> float:
    """How often two equal rows come out separable."""
    rng = np.random.Generator(np.random.PCG64(passes))
    return sum(not paired(rng, 1.0, passes, trial).holds_one for trial in range(TRIALS)) / TRIALS


@pytest.mark.parametrize("passes", [2, 3, 5])
def test_equal_rows_are_rarely_separable(passes: int) -> None:
    assert false_winners(passes) < 0.06


def test_by_the_normal_distribution_equal_rows_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        statistics, "student_t", lambda probability, freedom: scipy.stats.norm.ppf(probability)
    )
    assert false_winners(3) > 0.08


def test_noise_within_a_pass_counts_once() -> None:
    """Rounds five times as noisy as passes: the interval is no wider than what the passes' values scatter."""
    rng = np.random.Generator(np.random.PCG64(4))
    passes = [
        statistics.median(list(np.exp(0.1 * rng.standard_normal(ROUNDS))), "wide", str(n)) for n in range(4)
    ]
    found = statistics.estimate(passes)
    values = [one.value for one in passes]
    expected = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert [math.log(found.low), math.log(found.high)] == pytest.approx(expected, rel=1e-9)


def test_what_both_rows_of_a_block_meet_hides_nothing() -> None:
    """Each block meets another speed of the machine; of a row's own median over the blocks that is noise."""
    rng = np.random.Generator(np.random.PCG64(5))
    by_pairs, by_medians = [], []
    for number in range(40):
        met = np.exp(0.15 * rng.standard_normal((30, 1)))
        slow, fast = (factor * met * np.exp(0.02 * rng.standard_normal((30, 2))) for factor in (1.05, 1.0))
        blocks = [{k: list(map(float, rounds)) for k, rounds in enumerate(row)} for row in (slow, fast)]
        by_pairs.append(statistics.paired(*blocks, str(number)).value)
        medians = [statistics.median([s for rounds in row.values() for s in rounds]).value for row in blocks]
        by_medians.append(medians[0] - medians[1])
    assert np.mean(by_pairs) == pytest.approx(math.log(1.05), abs=0.002)
    assert np.std(by_pairs) < np.std(by_medians) / 1.5


def test_rounds_are_paired_by_their_place_in_a_block_that_both_have() -> None:
    """A first round that is always slow is so in both; a block that one lacks is left out."""
    slow = {0: [4.0, 2.0], 1: [8.0, 4.0], 2: [9.0, 9.0]}
    fast = {0: [2.0, 1.0], 1: [4.0, 2.0]}
    assert statistics.paired(slow, fast).value == pytest.approx(math.log(2))


def test_a_tenth_is_separable_and_measured() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    found = [paired(rng, 1.1, 5, trial) for trial in range(50)]
    assert sum(not item.holds_one for item in found) > 45
    assert sum(item.low <= 1.1 <= item.high for item in found) > 44
    assert all(item.low <= item.value <= item.high for item in found)


def test_the_same_samples_give_the_same_interval() -> None:
    def once() -> Estimate:
        return paired(np.random.Generator(np.random.PCG64(7)), 1.0, 3, 0)

    assert once() == once()


def test_draws_of_two_names_are_independent() -> None:
    samples = [1.0 + 0.01 * n for n in range(25)]
    a, b = (statistics.median(samples, name).draws for name in "ab")
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_one_pass_speaks_of_its_rounds_only() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    found = statistics.estimate([pass_of(rng, 1e-3, "a")])
    assert found.passes == 1
    assert (found.high - found.low) / found.value < PASS_NOISE


def test_constant_samples_have_no_width() -> None:
    found = statistics.estimate([statistics.median([2e-3] * 5, "a"), statistics.median([2e-3] * 5, "b")])
    assert found.high - found.low < 1e-12
    assert abs(found.value - 2e-3) < 1e-15


def test_spread_is_iqr_over_median() -> None:
    assert statistics.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0 / 3.0
    assert statistics.spread([2.0, 2.0, 2.0]) == 0.0


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.23456, 1.21, 1.26, "1.23"),
        (1.23456, 1.22, 1.25, "1.235"),  # a half width that begins with 1 keeps a digit more
        (0.0123456, 0.0120, 0.0127, "0.0123"),
        (123456.0, 121000.0, 126000.0, "123,000"),
        (123456.0, 123456.0, 123456.0, "123,460"),
        (1.23456789, 1.23456788, 1.2345679, "1.2346"),
        (3.0, 0.1, 40.0, "3"),
        (9.99999, 9.9, 10.1, "10.00"),
        (0.5, 0.1, 9.0, "0.5"),
    ],
)
def test_digits_end_where_the_interval_says(value: float, low: float, high: float, text: str) -> None:
    assert statistics.cut(value, statistics.decimals(value, low, high)) == text
