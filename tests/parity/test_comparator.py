"""The one comparator: everything that must fail does."""

from __future__ import annotations

import numpy as np
import pytest

from suites.interface import Arrays
from suites.parity.comparator import compare, compare_tokens, error
from suites.parity.tolerances import Tolerance


def judge(expected: Arrays, got: Arrays, tolerance: float = 1e-12, dtype: str = "float64") -> list[str]:
    findings = compare(expected, got, lambda name: Tolerance(tolerance, "test"), dtype, "here")
    return [finding.problem for finding in findings]


ONES = {"w": np.ones((2, 3))}


def test_equal_passes() -> None:
    assert judge(ONES, {"w": np.ones((2, 3))}) == [""]


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        ({}, "missing name"),
        ({"w": np.ones((3, 2))}, "wrong shape"),
        ({"w": np.ones(6)}, "wrong shape"),
        ({"w": np.ones((2, 3), np.float32)}, "wrong dtype"),
        ({"w": [[1.0] * 3] * 2}, "not a NumPy array"),
        ({"w": np.full((2, 3), np.nan)}, "not finite"),
        ({"w": np.full((2, 3), np.inf)}, "not finite"),
        ({"w": np.ones((2, 3)) + 1e-11}, "error above tolerance"),
    ],
)
def test_each_wrong_answer_fails(got: Arrays, problem: str) -> None:
    assert judge(ONES, got) == [problem]


def test_a_surplus_name_fails() -> None:
    assert judge(ONES, {"w": np.ones((2, 3)), "extra": np.ones(1)}) == [
        "",
        "a name that the contract does not have",
    ]


def test_a_zero_of_the_oracle_must_be_a_zero() -> None:
    expected, got = {"w": np.array([1.0, 0.0])}, {"w": np.array([1.0, 1e-300])}
    assert judge(expected, got) == ["not exactly zero where the oracle is"]


def test_all_zero_against_almost_zero() -> None:
    assert judge({"w": np.zeros(2)}, {"w": np.array([0.0, 1e-300])}) == ["error above tolerance"]


def test_one_element_far_off_is_seen_among_many() -> None:
    """The L2 error of one wrong element among 10^6 is 1e-3 of the element's: the maximum sees it whole."""
    expected = {"w": np.ones(10**6)}
    got = {"w": np.ones(10**6)}
    got["w"][77] += 1e-3
    assert abs(error(got["w"], expected["w"]) - 1e-3) < 1e-12


@pytest.mark.parametrize("name", ["hidden.encoder", "hidden.decoder", "logits"])
def test_the_worst_element_and_the_first_time_step_are_named(name: str) -> None:
    expected = {name: np.ones((2, 5, 3))}
    got = {name: np.ones((2, 5, 3))}
    got[name][1, 2, 0] += 1e-6
    got[name][0, 4, 1] += 1e-3
    (finding,) = compare(expected, got, lambda name: Tolerance(1e-9, "test"), "float64", "here")
    assert finding.at == "index [0, 4, 1], first at t = 2"
    assert (finding.expected, finding.got) == ("1", "1.001")


def test_no_square_underflows() -> None:
    """Errors of 1e-170 have squares below the smallest double."""
    expected = np.full(4, 1e-170)
    assert abs(error(expected * 1.5, expected) - 0.5) < 1e-12


TOKENS = np.array([[3, 4, 2, 0], [5, 6, 7, 8]])
ALL = np.ones((2, 4), bool)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_equal_tokens_pass_in_every_integer_type(kind: type) -> None:
    finding = compare_tokens(TOKENS, TOKENS.astype(kind), ALL, "test", "greedy")
    assert (finding.problem, finding.error, finding.where) == ("", 0.0, "greedy")


def test_the_first_wrong_token_is_named() -> None:
    got = np.array([[3, 4, 2, 1], [5, 9, 7, 8]])
    finding = compare_tokens(TOKENS, got, ALL, "test", "greedy")
    assert finding.problem == "error above tolerance"
    assert (finding.tensor, finding.where) == ("tokens", "greedy, row 1, step 1")
    assert (finding.expected, finding.got) == ("6", "9")
    assert (finding.error, finding.tolerance) == (2 / 8, 0.0)


def test_tokens_that_do_not_count_may_differ() -> None:
    got, counted = TOKENS.copy(), ALL.copy()
    got[1, 2:], counted[1, 2:] = 1, False
    assert not compare_tokens(TOKENS, got, counted, "test", "sampled").failed
    got[0, 0] = 4
    assert compare_tokens(TOKENS, got, counted, "test", "sampled").error == 1 / 6


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (TOKENS.tolist(), "not a NumPy array"),
        (TOKENS.astype(float), "wrong dtype"),
        (TOKENS[:, :3], "wrong shape"),
    ],
)
def test_tokens_of_another_form_fail(got: object, problem: str) -> None:
    assert compare_tokens(TOKENS, got, ALL, "test", "greedy").problem == problem
