"""The questions the gate asks: weights, carries and batches that can see.

Distinct random weights, every bias non-zero, a random carry, and a clip threshold
between the gradient norms of the first steps, so that clipping is active at one
and idle at another. ``tests/parity/test_fixtures.py`` proves each property.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import numpy as np

from results.errors import UserError
from suites import seeds, tasks, weights
from suites.implementations import builder, find
from suites.interface import Arrays, Batch, Implementation
from suites.parity.tolerances import OPTIMISER_STEPS, STEPS
from suites.spec import Task

SCALE = 2.0  # weights U(+-2/sqrt(H)): as far out as trained ones, so that h0, tanh c and gates matter
CLIP_MARGIN = (
    1.001  # norms of the first steps must differ by this: an active clip then moves g by 5e-4 or more
)


@dataclass(frozen=True)
class Fixture:
    """What one row is asked; every float is float32, so that both dtypes start from the same numbers."""

    task: Task  # with the fixture's clip threshold
    seed: int
    params: Arrays
    carries: dict[str, Arrays]  # "zero" and "random"
    batches: tuple[Batch, ...]  # STEPS of them

    def digest(self) -> str:
        """SHA-256 of every array, in a fixed order: level 0's data and weights."""
        arrays = [self.params[name] for name in sorted(self.params)]
        arrays += [carry[name] for _, carry in sorted(self.carries.items()) for name in sorted(carry)]
        arrays += [array for batch in self.batches for array in (batch.inputs, batch.targets)]
        return seeds.digest(*arrays)


@lru_cache(maxsize=2)
def make(task: Task, seed: int) -> Fixture:
    """The fixture of a task and a seed. Raises UserError where no clip threshold can be both."""
    params = weights.initial(task, seed, SCALE)
    fixture = Fixture(
        task=task,
        seed=seed,
        params=params,
        carries={"zero": weights.carry(task, None), "random": weights.carry(task, seed)},
        batches=tuple(islice(tasks.batches(task, seed), STEPS)),
    )
    return replace(fixture, task=_with_clip(task, _threshold(fixture)))


def oracle(task: Task, dtype: str = "float64") -> Implementation:
    """A fresh NumPy implementation of the task: in float64, the oracle."""
    return builder(find("numpy"), "scratch")(task, dtype, "cpu")


def norms(fixture: Fixture, optimiser: str, steps: int = OPTIMISER_STEPS) -> list[float]:
    """The global gradient norm before each of the first steps, along the oracle's own training."""
    training = replace(fixture.task.training, optimiser=optimiser)
    impl = oracle(replace(fixture.task, training=training))
    first = fixture.carries["random" if fixture.task.training.stateful else "zero"]
    impl.load(weights.cast(fixture.params, "float64"), weights.cast(first, "float64"))
    found = []
    for batch in fixture.batches[:steps]:
        batch = tasks.cast(batch, "float64")
        grads = impl.gradients(batch, impl.dump_carry())
        found.append(float(np.sqrt(sum((grads[name] ** 2).sum() for name in fixture.params))))
        impl.step(impl.place(batch))
    return found


def _threshold(fixture: Fixture) -> float:
    """Between the smallest and the largest norm of the first steps, unclipped."""
    idle = replace(fixture, task=_with_clip(fixture.task, float("inf")))
    found = norms(idle, fixture.task.training.optimiser)
    if max(found) < CLIP_MARGIN * min(found):
        raise UserError(
            f"seed {fixture.seed}, task {fixture.task.name}: expected gradient norms of the first steps that "
            f"differ by 0.1 %, so that clipping is active and idle, got {found}. Choose another --seed."
        )
    return float(np.sqrt(max(found) * min(found)))


def _with_clip(task: Task, clip: float) -> Task:
    return replace(task, training=replace(task.training, clip=clip))
