"""The hidden states of a trained sentiment model, on their first two principal components.

The oracle trains a one-layer network on the grammar with negation, to about its Bayes accuracy, and every
implementation is given the weights; each reads the same held-out sentences, and the h of every valid step
is a point. What it shows: verdicts draw apart with the words that were read, and a state's place says where
it stands in the sentence.

The weights are the oracle's because past some hundred steps any two trainings in float32 have parted by more
than a picture forgives (0.17 of these coordinates); that each trains as the oracle does, to the horizon, is
for level 5 of the gate. They are rounded to multiples of 2^-10, so that another processor's last digits
make no other weights.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from suites import spec, tasks, weights
from suites.diagnostics.judging import Case, Diagnostic, Tensors
from suites.diagnostics.pca import components
from suites.interface import Array, Arrays, Implementation
from suites.parity.fixtures import Fixture, oracle
from suites.spec import Task

STEPS = 500
BATCH, LENGTH, HIDDEN, EMBEDDING = 40, 10, 12, 8
LEARNING_RATE = 1e-2
GRID = 2.0**10


def question(cell: str) -> Task:
    """The task: sentiment's, one layer one way, so that a state has read the words up to it and no more."""
    task = spec.load("sentiment", cell=cell, size="tiny", length=LENGTH, batch=BATCH, hidden=HIDDEN)
    model = replace(task.model, layers=1, bidirectional=False, dropout=0.0, embedding=EMBEDDING)
    training = replace(task.training, learning_rate=LEARNING_RATE)
    return replace(task, size="states", model=model, training=training)


def cases(cell: str, seed: int, scales: list[float]) -> list[Case]:
    """One case: a point a valid step of a batch of held-out sentences, its sentence's verdict beside it."""
    task = question(cell)
    batch = next(tasks.held_out(task, seed))
    fixture = Fixture(task, seed, trained(task, seed), {"zero": weights.carry(task, None)}, (batch,))
    sentence, position = np.nonzero(within(fixture))
    verdict = batch.targets[sentence, 0].astype(int)
    labels = {"label": verdict.tolist(), "sentence": sentence.tolist()}
    return [Case("trained", fixture, (position + 1).tolist(), "position", labels)]


@lru_cache(maxsize=4)
def trained(task: Task, seed: int) -> Arrays:
    """The oracle's weights after STEPS steps, on a grid that float32 holds exactly."""
    impl = oracle(task)
    impl.load(weights.cast(weights.initial(task, seed), "float64"))
    for batch in islice(tasks.batches(task, seed), STEPS):
        impl.step(impl.place(tasks.cast(batch, "float64")))
    return {name: (np.round(GRID * value) / GRID).astype(np.float32) for name, value in impl.dump().items()}


def within(fixture: Fixture) -> Array:
    """Which steps [B, T] are of a sentence."""
    lengths = fixture.batches[0].lengths
    assert lengths is not None  # noqa: S101  # the task is ragged
    found: Array = np.arange(fixture.task.length) < lengths[:, None]
    return found


def ask(impl: Implementation, fixture: Fixture, dtype: str) -> Tensors:
    """The coordinates [n] on each of two components; the shares [2] of the variance that these explain."""
    impl.load(weights.cast(fixture.params, dtype))
    batch = tasks.cast(fixture.batches[0], dtype)
    hidden = impl.forward(batch, weights.cast(fixture.carries["zero"], dtype))["hidden.encoder"]
    found = components(hidden[within(fixture)], 2)
    first, second = found.coordinates.T
    return {"PC 1": [first], "PC 2": [second], "explained": [found.explained]}


STATES = Diagnostic("states", "sentiment", question, ("lstm",), cases, ask, whole=True)
