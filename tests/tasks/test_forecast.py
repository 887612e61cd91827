"""The series that is forecast: its law, its windows, and what is known of it."""

from __future__ import annotations

import dataclasses
from itertools import islice, pairwise

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.interface import Batch
from suites.spec import Task
from suites.tasks.forecast import data

A_1, A_2, W = 1.5, -0.9, 0.2  # as the task file has them


def changed(task: Task, **options: object) -> Task:
    """The task with other options in its data source."""
    found = dataclasses.replace(task.data, options=dict(task.data.options) | options)
    return dataclasses.replace(task, data=found)


def series() -> np.ndarray:
    return data.generated(A_1, A_2, W, 100_000, 0, "series")


def noise(x: np.ndarray) -> np.ndarray:
    """What the law leaves unexplained."""
    return x[2:] - A_1 * x[1:-1] - A_2 * x[:-2]


def test_the_task_file_says_so() -> None:
    options = spec.load("forecast").data.options
    assert (options["coefficients"], options["noise"]) == ([A_1, A_2], W)


def test_the_series_follows_its_law() -> None:
    e = noise(series())
    assert np.abs(e).max() < W + 1e-12
    assert e.min() < -0.99 * W
    assert e.max() > 0.99 * W
    # white: 100 000 values, a standard error of 0.0032
    assert abs(np.corrcoef(e[1:], e[:-1])[0, 1]) < 0.013
    assert abs(np.corrcoef(e, series()[1:-1])[0, 1]) < 0.013


def test_the_best_leaves_the_noise_and_persistence_errs_as_said() -> None:
    x, known = series(), tasks.facts(spec.load("forecast"))
    # relative standard error of the mean of e^2: 0.89 / sqrt(100 000) = 0.0028
    assert abs((noise(x) ** 2).mean() / known.optimum - 1) < 0.012
    assert abs((np.diff(x) ** 2).mean() / known.baseline - 1) < 0.03
    assert known.unit == "squared error"


@pytest.mark.parametrize("a", [(A_1, A_2), (0.5, 0.3), (-1.2, -0.5), (0.0, 0.0)])
def test_persistence_is_exact(a: tuple[float, float]) -> None:
    """x_t = sum of psi_j e_{t-j}: a difference varies as e, times the sum of (psi_j - psi_{j-1})^2."""
    psi = [0.0, 1.0]
    for _ in range(data.SETTLED):
        psi.append(a[0] * psi[-1] + a[1] * psi[-2])
    assert abs(psi[-1]) < 1e-20 or a == (0.5, 0.3)  # the start is forgotten
    expected = W**2 / 3 * (np.diff(psi) ** 2).sum()
    known = tasks.facts(changed(spec.load("forecast"), coefficients=list(a)))
    assert abs(known.baseline / expected - 1) < 1e-12
    assert abs(known.optimum - W**2 / 3) < 1e-15


def windows(batches: list[Batch]) -> np.ndarray:
    """Each window with the value after it, [N, T + 1]."""
    return np.concatenate([np.concatenate([b.inputs[..., 0], b.targets], axis=1) for b in batches])


def pairs(x: np.ndarray) -> list[tuple[float, float]]:
    """Each value and the next: in float32 one alone may come twice."""
    return list(pairwise(x.tolist()))


def test_windows_are_cut_from_the_series() -> None:
    task = spec.load("forecast", size="small")
    x = series().astype(np.float32)
    place = {pair: at for at, pair in enumerate(pairs(x))}
    drawn = windows(list(islice(tasks.batches(task, 0), 30)))
    starts = [place[pairs(row)[0]] for row in drawn]
    assert all((x[at : at + 13] == row).all() for at, row in zip(starts, drawn, strict=True))
    assert min(starts) < 200
    assert max(starts) > 99_800  # all of the series is used


def test_held_out_windows_are_of_another_series_in_order() -> None:
    task = spec.load("forecast", size="small")
    held_out = windows(list(tasks.held_out(task, 0)))
    assert len(held_out) == 128 * 64
    assert (held_out[1:, :-1] == held_out[:-1, 1:]).all()
    assert not set(pairs(held_out[:, 0])) & set(pairs(series().astype(np.float32)))
    assert (held_out == windows(list(tasks.held_out(task, 0)))).all()
    e = noise(held_out[:, 0].astype(np.float64))
    assert np.abs(e).max() < W + 1e-6


PRICES = [[1.0, 1.2, 1.1, 1.4], [1.2, 1.1, 1.4, 1.6], [1.1, 1.4, 1.6, 1.5], [1.4, 1.6, 1.5, 1.8]]


def test_seven_prices_have_four_windows() -> None:
    task = spec.load("forecast", size="textbook", data="prices")
    assert (task.length, task.model.hidden) == (3, 16)
    for batch in [*islice(tasks.batches(task, 0), 3), *tasks.held_out(task, 0)]:
        assert windows([batch]).tolist() == np.float32(PRICES).tolist()
    assert len(list(tasks.held_out(task, 0))) == 1
    assert spec.trained_size("forecast", "prices", "small") == "textbook"


def test_prices_come_equally_often_whatever_the_batch() -> None:
    task = dataclasses.replace(spec.load("forecast", size="textbook", data="prices"), batch=6)
    task = dataclasses.replace(task, schedule=dataclasses.replace(task.schedule, batches=9))
    held_out = windows(list(tasks.held_out(task, 0)))
    assert held_out.tolist() == np.float32(PRICES * 3).tolist()
    assert (windows(list(islice(tasks.batches(task, 0), 2))) == held_out).all()


def test_what_is_known_of_the_prices() -> None:
    known = tasks.facts(spec.load("forecast", size="textbook", data="prices"))
    assert known.optimum == 0  # no two windows are equal: all can be learnt by heart
    assert abs(known.baseline - (0.3**2 + 0.2**2 + 0.1**2 + 0.3**2) / 4) < 1e-12


def test_equal_windows_that_go_on_differently_leave_an_error() -> None:
    task = spec.load("forecast", size="textbook", data="prices", length=2)
    known = tasks.facts(changed(task, prices=[0, 0, 1, 0, 0, 3]))
    # (0, 0) goes on with 1 and with 3: at best 2, an error of 1 at two windows of four
    assert known.optimum == 0.5
    assert known.baseline == (1 + 1 + 0 + 9) / 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prices": [1.0, 1.2, 1.1]}, r"prices: expected 4 values or more, for 1 windows of 3 \(--length\)"),
        ({"prices": []}, "prices: expected one that is not empty"),
        ({"prices": [1.0, "1.2", 1.1, 1.4]}, "prices: expected a list of finite numbers, got '1.2'"),
        ({"prices": [1.0, float("nan"), 1.1, 1.4]}, "prices: expected a list of finite numbers, got nan"),
        ({"prices": 7}, "prices: expected a value of type list, got 7"),
    ],
)
def test_bad_prices_are_named(options: dict[str, object], words: str) -> None:
    task = changed(spec.load("forecast", size="textbook", data="prices"), **options)
    for ask in (lambda: next(tasks.batches(task, 0)), lambda: tasks.facts(task)):
        with pytest.raises(UserError, match=f"data source 'prices': {words}"):
            ask()
    with pytest.raises(UserError, match=words):
        list(tasks.held_out(task, 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coefficients": [1.5, 0.9]}, r"coefficients: expected \[a_1, a_2\] with .*, got \[1.5, 0.9\]"),
        ({"coefficients": [0.5, -1.0]}, "coefficients: expected"),
        ({"coefficients": [0.5]}, "coefficients: expected"),
        ({"noise": 0.0}, "noise: expected more than 0, got 0.0"),
        ({"noise": "much"}, "noise: expected a value of type float, got 'much'"),
        ({"values": 4}, "values: expected 5 values or more, for 1 windows of 4 .*, got 4"),
        ({"values": None}, "values: expected a value of type int, got None"),
    ],
)
def test_a_bad_series_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=f"data source 'generated': {words}"):
        next(tasks.batches(changed(spec.load("forecast"), **options), 0))


def test_held_out_values_fill_a_batch() -> None:
    task = changed(spec.load("forecast"), held_out_values=8)
    with pytest.raises(UserError, match="held_out_values: expected 9 values or more, for 5 windows of 4"):
        list(tasks.held_out(task, 0))
