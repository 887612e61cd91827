"""Remember the first value: every step brings a value, the answer is the first of them.

The values that follow are drawn as the first is, so nothing but its place tells
it apart, and each of them is one more chance to lose it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suites import seeds
from suites.interface import Batch
from suites.spec import Task
from suites.tasks import Facts


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T, 1]: values in [0, 1); targets [B, 1]: the value of step 0."""
    return _draw(task, seeds.generator(seed, "copy_first", "data"))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same, drawn apart: training sees none of them."""
    return _draw(task, seeds.generator(seed, "copy_first", "held-out"))


def facts(task: Task) -> Facts:
    """Always answering 1/2, the mean, leaves the variance of U[0, 1)."""
    return Facts(optimum=0.0, baseline=1 / 12, unit="squared error")


def _draw(task: Task, rng: np.random.Generator) -> Iterator[Batch]:
    B, T = task.batch, task.length
    while True:
        inputs = rng.random((B, T, 1)).astype(np.float32)
        yield Batch(inputs, inputs[:, 0].copy())
