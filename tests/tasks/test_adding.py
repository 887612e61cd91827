"""The adding problem as the source states it."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks


@pytest.mark.parametrize("length", [10, 50, 100, 200, 7])
def test_one_marker_in_each_half_and_their_sum(length: int) -> None:
    task = spec.load("adding", length=length)
    for batch in islice(tasks.batches(task, seed=3), 20):
        values, mask = batch.inputs[..., 0], batch.inputs[..., 1]
        assert batch.inputs.shape == (task.batch, length, 2)
        assert set(np.unique(mask)) == {0, 1}
        assert (mask[:, : length // 2].sum(axis=1) == 1).all()
        assert (mask[:, length // 2 :].sum(axis=1) == 1).all()
        assert ((values >= 0) & (values < 1)).all()
        marked = values[mask == 1].reshape(task.batch, 2)
        assert (batch.targets[:, 0] == marked[:, 0] + marked[:, 1]).all()


def test_features_beyond_the_two_are_noise() -> None:
    narrow, wide = spec.load("adding", size="tiny"), spec.load("adding", size="S")
    assert (narrow.model.features, wide.model.features) == (2, 64)
    batch = next(tasks.batches(wide, seed=3))
    values, mask, noise = batch.inputs[..., 0], batch.inputs[..., 1], batch.inputs[..., 2:]
    marked = values[mask == 1].reshape(wide.batch, 2)
    assert (batch.targets[:, 0] == marked[:, 0] + marked[:, 1]).all()
    assert ((noise >= 0) & (noise < 1)).all()
    columns = noise.reshape(-1, 62)
    apart = np.abs(np.corrcoef(columns, rowvar=False) - np.eye(62)).max()
    assert apart < 0.12  # of 2048 draws: more than five standard errors


def test_less_than_a_value_and_a_mask_is_refused() -> None:
    task = spec.load("adding")
    task = dataclasses.replace(task, model=dataclasses.replace(task.model, features=1))
    with pytest.raises(UserError, match=r"features: expected 2 or more, a value and a mask, got 1"):
        next(tasks.batches(task, 0))


def test_every_position_is_marked_sooner_or_later() -> None:
    task = spec.load("adding", length=10)
    marked = sum(batch.inputs[..., 1].sum(axis=0) for batch in islice(tasks.batches(task, 0), 200))
    assert (marked > 0).all()


def test_the_baseline_is_the_variance_of_the_sum() -> None:
    task = spec.load("adding", size="small")
    targets = np.concatenate([batch.targets for batch in islice(tasks.batches(task, 0), 400)])
    baseline = tasks.facts(task).baseline
    # 20 000 draws: the standard error of the variance is 0.0014, so 0.006 is four of them
    assert abs(((targets - 1) ** 2).mean() - baseline) < 0.006
    assert tasks.facts(task).optimum == 0


def test_held_out_sequences_are_drawn_apart() -> None:
    task = spec.load("adding", size="tiny")
    held_out = list(tasks.held_out(task, 0))
    assert len(held_out) == task.schedule.batches
    trained = {row.tobytes() for batch in islice(tasks.batches(task, 0), 60) for row in batch.inputs}
    assert not trained & {row.tobytes() for batch in held_out for row in batch.inputs}
    again = list(tasks.held_out(task, 0))
    assert all((a.inputs == b.inputs).all() for a, b in zip(held_out, again, strict=True))
    assert (next(tasks.held_out(task, 1)).inputs != held_out[0].inputs).any()


def test_seeds_are_apart_and_repeatable() -> None:
    task = spec.load("adding")
    first, again, other = (next(tasks.batches(task, seed)).inputs for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
