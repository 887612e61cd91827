"""The adding problem: a value and a mask at every step; the answer is the sum of the marked values.

One marker stands in each half of the sequence (Arjovsky et al. 2016, section 5.1),
so the answer cannot be had without memory over about T/2 steps. Features beyond
the two are noise, to be left out: they make the inputs as wide as a size asks for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suites import seeds
from suites.interface import Batch
from suites.spec import Task
from suites.tasks import Facts
from suites.tasks.options import bad


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T, I]: value in [0, 1), mask in {0, 1}, noise in [0, 1); targets [B, 1]: the marked sum.

    Raises UserError for a sequence that has no halves, and for less than two features.
    """
    return _draw(task, seeds.generator(seed, "adding", "data"))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same, drawn apart: training sees none of them."""
    return _draw(task, seeds.generator(seed, "adding", "held-out"))


def facts(task: Task) -> Facts:
    """Always answering 1, the mean, leaves the variance of a sum of two U[0, 1): 2/12."""
    return Facts(optimum=0.0, baseline=1 / 6, unit="squared error")


def _draw(task: Task, rng: np.random.Generator) -> Iterator[Batch]:
    B, T, noisy = task.batch, task.length, task.model.features - 2
    if T < 2:
        raise bad(task, "--length", "2 or more, for a marker in each half", T)
    if noisy < 0:
        raise bad(task, "features", "2 or more, a value and a mask", task.model.features)
    row = np.arange(B)
    while True:
        values = rng.random((B, T)).astype(np.float32)
        first = seeds.integers(rng, 0, T // 2, (B,))
        second = seeds.integers(rng, T // 2, T, (B,))
        mask = np.zeros((B, T), np.float32)
        mask[row, first] = mask[row, second] = 1
        targets = values[row, first] + values[row, second]
        inputs = np.stack([values, mask], axis=2)
        if noisy:
            noise = rng.random((B, T, noisy)).astype(np.float32)
            inputs = np.concatenate([inputs, noise], axis=2)
        yield Batch(inputs, targets[:, None])
