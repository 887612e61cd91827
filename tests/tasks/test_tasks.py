"""What every task keeps to: shapes, lengths, padding, masks, splits that do not overlap."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest

from suites import spec, tasks
from suites.interface import Array, Batch
from suites.spec import BOS, EOS, PAD, Task

NAMES = spec.names()


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return spec.load(request.param)


def drawn(task: Task, many: int = 4) -> list[Batch]:
    """Batches of training and held-out ones."""
    return [*islice(tasks.batches(task, 0), many), *islice(tasks.held_out(task, 0), many)]


def test_inputs_and_targets_have_the_shapes_of_the_contract(task: Task) -> None:
    B, T, S, model = task.batch, task.length, task.target_length, task.model
    decoder = model.wiring != "encoder"
    steps = (B, S) if decoder else (B, T) if model.head == "every" else (B,)
    for batch in drawn(task):
        if model.wiring == "decoder":
            assert (batch.inputs.shape, batch.inputs.dtype) == ((B, model.features), np.float32)
        elif model.inputs == "tokens":
            assert (batch.inputs.shape, batch.inputs.dtype) == ((B, T), np.int32)
            assert 0 <= batch.inputs.min() <= batch.inputs.max() < model.vocabulary
        else:
            assert (batch.inputs.shape, batch.inputs.dtype) == ((B, T, model.features), np.float32)
        if model.loss == "cross_entropy":
            assert (batch.targets.shape, batch.targets.dtype) == (steps, np.int32)
            assert 0 <= batch.targets.min() <= batch.targets.max() < model.outputs
        else:
            assert (batch.targets.shape, batch.targets.dtype) == ((*steps, model.outputs), np.float32)
        if model.loss == "binary_cross_entropy":
            assert set(np.unique(batch.targets)) <= {0, 1}


def test_lengths_are_there_where_the_task_is_ragged_and_only_there(task: Task) -> None:
    model = task.model
    for batch in drawn(task):
        assert (batch.lengths is not None) == (model.ragged and model.wiring != "decoder")
        assert (batch.decoder_inputs is not None) == (model.wiring != "encoder")
        if model.wiring == "encoder":
            assert batch.target_lengths is None
        if batch.lengths is not None:
            padded(batch.inputs, batch.lengths)
        if batch.target_lengths is not None:
            padded(batch.targets, batch.target_lengths)


def padded(tokens: Array, lengths: Array) -> None:
    """Lengths of 1 to T, and PAD past them."""
    assert (lengths.shape, lengths.dtype) == ((len(tokens),), np.int32)
    assert lengths.min() >= 1
    assert lengths.max() <= tokens.shape[1]
    assert (tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] == PAD).all()


def test_a_decoder_reads_its_targets_one_step_late_and_they_end(task: Task) -> None:
    if task.model.wiring == "encoder":
        assert task.target_length == 0
        return
    for batch in drawn(task):
        assert batch.decoder_inputs is not None
        assert (batch.decoder_inputs[:, 0] == BOS).all()
        for row, (read, wanted) in enumerate(zip(batch.decoder_inputs, batch.targets, strict=True)):
            S = task.target_length if batch.target_lengths is None else int(batch.target_lengths[row])
            assert (read[1:S] == wanted[: S - 1]).all()
            assert wanted[S - 1] == EOS
            assert not np.isin(wanted[: S - 1], (PAD, BOS, EOS)).any()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(task: Task) -> None:
    def text(seed: int) -> bytes:
        return b"".join(a.tobytes() for a in next(tasks.batches(task, seed)) if a is not None)

    assert text(0) == text(0)
    if task.data.name != "prices":
        assert text(0) != text(1)


def test_masks_keep_the_share_that_the_spec_says_and_change_from_batch_to_batch(task: Task) -> None:
    model = task.model
    first, second = islice(tasks.batches(task, 0), 2)
    assert all(batch.masks is None for batch in tasks.held_out(task, 0))
    if model.dropout == 0:
        assert first.masks is None
        return
    assert first.masks is not None
    assert second.masks is not None
    shape = (model.layers - 1, task.batch, task.length, model.width)
    assert (first.masks.shape, first.masks.dtype) == (shape, bool)
    assert (first.masks != second.masks).any()
    many = np.concatenate([batch.masks for batch in islice(tasks.batches(task, 0), 50)])  # type: ignore[misc]
    kept = 1 - model.dropout
    assert abs(many.mean() - kept) < 5 * np.sqrt(kept * model.dropout / many.size)


def test_masks_move_no_other_draw(task: Task) -> None:
    dry = dataclasses.replace(task, model=dataclasses.replace(task.model, dropout=0.0))
    for wet, without in zip(islice(tasks.batches(task, 0), 3), tasks.batches(dry, 0), strict=False):
        assert (wet.inputs == without.inputs).all()
        assert (wet.targets == without.targets).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_best_and_the_trivial_are_known_and_apart(name: str) -> None:
    known = tasks.facts(spec.load(name))
    assert np.isfinite([known.optimum, known.baseline]).all()
    better = known.optimum > known.baseline
    assert better if known.unit in ("accuracy", "exact match") else known.optimum < known.baseline
