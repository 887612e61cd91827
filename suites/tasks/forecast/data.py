"""Forecast the next value of a series from a window of the last T.

By default the series is autoregressive, so that nobody can do better than its noise:

    x_t = a_1 x_{t-1} + a_2 x_{t-2} + e_t,   e_t from U[-w, w)

``prices`` is a series as the textbook exercise has it: seven values, a window of three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from suites import seeds
from suites.interface import Batch
from suites.seeds import Floats, Integers
from suites.spec import Task
from suites.tasks import Facts
from suites.tasks.options import bad, numbers, option

SETTLED = 1000  # values dropped at the start of a series, which begins at 0, off its stationary law


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T, 1]: a window; targets [B, 1]: the value that follows.

    Windows of the generated series are drawn; those of the prices come in turn, over and over.
    Raises UserError for a series that is too short, unsteady or not of numbers.
    """
    if "prices" in task.data.options:
        return _in_turn(task, _windows(task, "prices", _prices(task)), None)
    series = generated(*_law(task), option(task, "values", int), seed, "series")
    rng = seeds.generator(seed, "forecast", "windows")
    return _drawn(task, _windows(task, "values", series), rng)


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The windows of a series drawn apart, in order; of the prices the very windows that are trained on."""
    B = task.batch
    if "prices" in task.data.options:
        windows = _windows(task, "prices", _prices(task))
        N = len(windows)
        return _in_turn(task, windows, N // math.gcd(N, B))  # each window equally often
    series = generated(*_law(task), option(task, "held_out_values", int), seed, "held-out series")
    windows = _windows(task, "held_out_values", series, B)
    return _in_turn(task, windows, len(windows) // B)


def facts(task: Task) -> Facts:
    """The variance of the noise, w^2 / 3, and the error of persistence: the next value is the last one.

    Persistence errs by twice the variance of the series times 1 - r, r = a_1 / (1 - a_2) being the
    correlation of neighbours (Box and Jenkins 1970, section 3.2.4). The best for prices is what is left
    where windows are equal and go on differently: 0 where none are equal.
    """
    if "prices" in task.data.options:
        return _facts_of_prices(task)
    a_1, a_2, w = _law(task)
    noise = w * w / 3
    variance = noise * (1 - a_2) / ((1 + a_2) * ((1 - a_2) ** 2 - a_1**2))
    return Facts(noise, 2 * variance * (1 - a_1 / (1 - a_2)), "squared error")


@lru_cache(maxsize=4)
def generated(a_1: float, a_2: float, w: float, values: int, seed: int, name: str) -> Floats:
    """``values`` of the series, float64; ``name`` names its draws."""
    noise = seeds.uniform(seeds.generator(seed, "forecast", name), -w, w, (SETTLED + values,))
    series, before, last = [], 0.0, 0.0
    for e in noise.tolist():
        before, last = last, a_1 * last + a_2 * before + e
        series.append(last)
    return np.array(series[SETTLED:])


def _prices(task: Task) -> Floats:
    """The prices of the data source. Raises UserError."""
    return np.array(numbers(task, "prices"), np.float64)


def _law(task: Task) -> tuple[float, float, float]:
    """a_1, a_2 and w. Raises UserError where the series would not stay about zero, or has no noise."""
    a, w = numbers(task, "coefficients"), option(task, "noise", float)
    if len(a) != 2 or not (abs(a[1]) < 1 and abs(a[0]) < 1 - a[1]):
        raise bad(task, "coefficients", "[a_1, a_2] with |a_2| < 1 and |a_1| < 1 - a_2", a)
    if not w > 0:
        raise bad(task, "noise", "more than 0", w)
    return float(a[0]), float(a[1]), w


def _windows(task: Task, key: str, series: Floats, least: int = 1) -> Floats:
    """windows [N, T + 1] of the series: T values and the one that follows. Raises UserError for too few."""
    T = task.length
    if len(series) < T + least:
        expected = f"{T + least} values or more, for {least} windows of {T} (--length)"
        raise bad(task, key, expected, len(series))
    windows: Floats = np.lib.stride_tricks.sliding_window_view(series, T + 1)
    return windows


def _drawn(task: Task, windows: Floats, rng: np.random.Generator) -> Iterator[Batch]:
    while True:
        yield _batch(windows, seeds.integers(rng, 0, len(windows), (task.batch,)))


def _in_turn(task: Task, windows: Floats, number: int | None) -> Iterator[Batch]:
    """``number`` batches of the windows in order, endless if None; after the last comes the first."""
    B, k = task.batch, 0
    while k != number:
        yield _batch(windows, np.arange(k * B, (k + 1) * B) % len(windows))
        k += 1


def _batch(windows: Floats, at: Integers) -> Batch:
    taken = windows[at].astype(np.float32)  # [B, T + 1]
    return Batch(taken[:, :-1, None].copy(), taken[:, -1:].copy())


def _facts_of_prices(task: Task) -> Facts:
    windows = _windows(task, "prices", _prices(task))
    following: dict[bytes, list[float]] = {}
    for window in windows:
        following.setdefault(window[:-1].tobytes(), []).append(float(window[-1]))
    left = sum(len(values) * float(np.var(values)) for values in following.values()) / len(windows)
    persistence = float(((windows[:, -1] - windows[:, -2]) ** 2).mean())
    return Facts(left, persistence, "squared error")
