"""The oracle's losses and its choice of a token, where complex step does not look: far out, and at ties."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

from suites import implementations

training = importlib.import_module(f"{implementations.find('numpy').package}.training")


@pytest.mark.parametrize(("z", "t", "loss"), [(1000.0, 1, 0.0), (1000.0, 0, 1000.0), (-1000.0, 1, 1000.0)])
def test_binary_cross_entropy_neither_overflows_nor_saturates(z: float, t: int, loss: float) -> None:
    value, dlogits = training.binary_cross_entropy(np.array([[z]]), np.array([[float(t)]]))
    assert value == loss
    assert dlogits == (1.0 if z > 0 else 0.0) - t


def test_binary_cross_entropy_at_zero_is_a_coin() -> None:
    value, dlogits = training.binary_cross_entropy(np.array([[0.0]]), np.array([[1.0]]))
    assert value == pytest.approx(math.log(2), rel=1e-15)
    assert dlogits == -0.5


def test_a_mean_counts_valid_elements_only() -> None:
    logits = np.array([[[1.0], [1e30]], [[3.0], [5.0]]])
    valid = np.array([[True, False], [True, True]])
    value, dlogits = training.squared_error(logits, np.zeros((2, 2, 1)), valid)
    assert value == (1 + 9 + 25) / 3
    assert dlogits[0, 1, 0] == 0
    assert dlogits[1, 1, 0] == 10 / 3


def test_float32_stays_float32() -> None:
    logits, targets = np.ones((2, 3, 4), np.float32), np.zeros((2, 3), np.int32)
    valid = np.array([[True, False, False], [True, True, True]])
    value, dlogits = training.cross_entropy(logits, targets, valid)
    assert (value.dtype, dlogits.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(("u", "token"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.75, 3), (0.9999, 3)])
def test_a_draw_is_looked_up_in_the_cumulated_softmax(u: float, token: int) -> None:
    assert training.choose(np.zeros((1, 4)), np.array([u]), 1.0) == [token]


def test_a_sum_that_rounds_below_the_draw_gives_the_last_token() -> None:
    logits = np.zeros((1, 10), np.float32)  # ten times 0.1 in float32 may stay under 1
    assert training.choose(logits, np.array([np.nextafter(1, 0)]), 1.0) == [9]


def test_temperature_sharpens_and_without_draws_the_likeliest_is_taken() -> None:
    logits = np.array([[0.0, 1.0]])
    p = 1 / (1 + math.exp(-1 / 0.5))
    assert training.choose(logits, np.array([1 - p - 1e-9]), 0.5) == [0]
    assert training.choose(logits, np.array([1 - p + 1e-9]), 0.5) == [1]
    assert training.choose(np.array([[2.0, 2.0, 1.0]]), None, 1.0) == [0]
