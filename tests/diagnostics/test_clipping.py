"""Norms before and after clipping: the rule itself, read off what the optimiser was given."""

from __future__ import annotations

import numpy as np
import pytest

from suites.diagnostics.clipping import CLIPPING, cases, given
from suites.diagnostics.judging import Case
from suites.interface import Arrays
from suites.parity.fixtures import oracle


def asked(case: Case, dtype: str = "float64") -> Arrays:
    impl = oracle(case.fixture.task, dtype)
    return CLIPPING.curves(CLIPPING.ask(impl, case.fixture, dtype))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_after_is_the_smaller_of_before_and_the_threshold(cell: str) -> None:
    (case,) = cases(cell, 0, [])
    curves, limit = asked(case), case.fixture.task.training.clip
    want = np.minimum(curves["before"], limit)
    assert np.abs(curves["after"] / want - 1).max() < 1e-12
    active = curves["before"] > limit
    assert 10 <= active.sum() <= len(active) - 10  # a figure of a threshold that never holds shows nothing


def test_the_gradient_is_read_off_the_first_moment() -> None:
    g, m = np.array([3.0, -4.0]), np.array([0.5, 100.0])
    assert np.abs(given(m, 0.9 * m + 0.1 * g, 0.9) - g).max() < 1e-12
