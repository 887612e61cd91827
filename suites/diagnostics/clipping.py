"""The global norm of the gradient before and after clipping, at each step of a training.

Before: the norm, over all parameters, of the contract's gradients at the weights of the step. After: what
the optimiser was really given. Adam's first moment is m' = b1 m + (1 - b1) g, so that

    g = (m' - b1 m) / (1 - b1)

is read off its state before and after the step; nothing is assumed of how an implementation clips. The task
is adding, whose own threshold of 1 is active at times and idle at others while it learns (Pascanu, Mikolov
and Bengio 2013, section 3.2, proposed the rule; it is needed where gradients explode).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np

from suites import spec, tasks, weights
from suites.diagnostics.judging import Case, Diagnostic, Tensors
from suites.interface import Array, Arrays, Implementation
from suites.parity.fixtures import Fixture
from suites.spec import Task

STEPS = 50
BATCH, LENGTH, HIDDEN = 16, 12, 8


def question(cell: str) -> Task:
    """The task: adding, small."""
    task = spec.load("adding", cell=cell, size="tiny", length=LENGTH, batch=BATCH, hidden=HIDDEN)
    return replace(task, size="clipping")


def cases(cell: str, seed: int, scales: list[float]) -> list[Case]:
    """One training, from the benchmark's own weights."""
    task = question(cell)
    batches = tuple(islice(tasks.batches(task, seed), STEPS))
    carries = {"zero": weights.carry(task, None)}
    fixture = Fixture(task, seed, weights.initial(task, seed), carries, batches)
    name = f"threshold {task.training.clip:g}"
    return [Case(name, fixture, list(range(1, STEPS + 1)), "step", {})]


def ask(impl: Implementation, fixture: Fixture, dtype: str) -> Tensors:
    """At each step the gradient before clipping and after, all parameters in one vector."""
    b1, zero = fixture.task.training.betas[0], weights.cast(fixture.carries["zero"], dtype)
    impl.load(weights.cast(fixture.params, dtype))
    names, before, after = list(fixture.params), [], []
    moments = impl.dump_optimiser()
    for batch in fixture.batches:
        batch = tasks.cast(batch, dtype)
        before.append(vector(impl.gradients(batch, zero), names))
        impl.step(impl.place(batch))
        then, moments = moments, impl.dump_optimiser()
        first = [f"m.{name}" for name in names]
        after.append(given(vector(then, first), vector(moments, first), b1))
    return {"before": before, "after": after}


def given(then: Array, now: Array, b1: float) -> Array:
    """The gradient that moved Adam's first moment from ``then`` to ``now``."""
    return (now - b1 * then) / (1 - b1)


def vector(arrays: Arrays, names: list[str]) -> Array:
    """The named arrays as one vector, in float64."""
    return np.concatenate([arrays[name].astype(np.float64).ravel() for name in names])


CLIPPING = Diagnostic("clipping", "adding", question, ("rnn", "lstm", "gru"), cases, ask, trains=True)
