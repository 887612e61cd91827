"""Remembering the first value."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from suites import spec, tasks


@pytest.mark.parametrize("length", [10, 30, 50, 100])
def test_the_answer_is_the_first_of_values_that_are_all_alike(length: int) -> None:
    task = spec.load("copy_first", length=length)
    for batch in islice(tasks.batches(task, seed=3), 20):
        assert batch.inputs.shape == (task.batch, length, 1)
        assert batch.inputs.dtype == batch.targets.dtype == np.float32
        assert ((batch.inputs >= 0) & (batch.inputs < 1)).all()
        assert batch.targets.tolist() == [[row[0][0]] for row in batch.inputs.tolist()]
        for row in batch.inputs[..., 0]:
            assert len(set(row.tolist())) == length


def test_no_later_value_tells_of_the_first() -> None:
    task = spec.load("copy_first", size="small", length=10)
    values = np.concatenate([batch.inputs[..., 0] for batch in islice(tasks.batches(task, 0), 400)])
    between = np.corrcoef(values, rowvar=False)[0, 1:]
    # 20 000 draws: the standard error of a correlation is 0.0071, so 0.032 is four and a half
    assert np.abs(between).max() < 0.032


def test_the_baseline_is_the_variance_of_the_first_value() -> None:
    task = spec.load("copy_first", size="small")
    targets = np.concatenate([batch.targets for batch in islice(tasks.batches(task, 0), 400)])
    known = tasks.facts(task)
    # of a U[0, 1): its variance, whose standard error from 20 000 draws is 0.0006
    assert abs(((targets - 0.5) ** 2).mean() - known.baseline) < 0.0024
    n = 10**6
    middle = (np.arange(n) + 0.5) / n
    assert abs(((middle - 0.5) ** 2).mean() - known.baseline) < 1e-9
    assert (known.optimum, known.unit) == (0, "squared error")


def test_held_out_sequences_are_drawn_apart() -> None:
    task = spec.load("copy_first")
    trained = {row.tobytes() for batch in islice(tasks.batches(task, 0), 60) for row in batch.inputs}
    held_out = list(tasks.held_out(task, 0))
    assert len(held_out) == task.schedule.batches
    assert not trained & {row.tobytes() for batch in held_out for row in batch.inputs}
    again = list(tasks.held_out(task, 0))
    assert all((a.inputs == b.inputs).all() for a, b in zip(held_out, again, strict=True))
