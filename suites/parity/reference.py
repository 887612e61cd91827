"""What the oracle answers to a fixture, how well conditioned the question is, and how far
the oracle's own float32 strays: everything a row is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from results.errors import UserError
from suites import seeds, tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, make, oracle
from suites.parity.tolerances import DRAWS, HORIZON, KAPPA_LIMIT, OPTIMISER_STEPS, roundoff
from suites.spec import Task

Errors = dict[str, float]


@dataclass(frozen=True)
class Answers:
    """Levels 1 to 3 on the first batch: per case ("zero", "random" carry), named tensors."""

    forward: dict[str, Arrays]
    loss: dict[str, float]
    gradients: dict[str, Arrays]


@dataclass(frozen=True)
class Step:
    """What was seen of one training step."""

    loss: float
    params: Arrays
    optimiser: Arrays
    carry: Arrays
    inferred: Arrays  # ``logits`` of the first batch after the first OPTIMISER_STEPS; then nothing


@dataclass(frozen=True)
class Reference:
    """The oracle's answers, with the measured conditioning and float32 error of each tensor."""

    fixture: Fixture
    answers: Answers
    kappa: Errors  # per tensor, "loss" included
    float32: Errors  # the oracle's float32 error per tensor, largest of the draws

    @cached_property
    def training(self) -> dict[str, list[Step]]:
        """Per optimiser: the task's own to STEPS, the other to OPTIMISER_STEPS."""
        task = self.fixture.task
        return {
            optimiser: train(oracle(with_optimiser(task, optimiser)), self.fixture, "float64", steps)
            for optimiser, steps in plan(self.fixture)
        }

    @cached_property
    def training_float32(self) -> dict[str, list[Errors]]:
        """The same, error envelope per step and tensor."""
        draws = [perturbed(self.fixture, d, "float32") for d in range(DRAWS)]
        return {optimiser: _envelope(draws, optimiser, steps) for optimiser, steps in plan(self.fixture)}


@lru_cache(maxsize=2)
def reference(task: Task, seed: int) -> Reference:
    """Ask the oracle everything. Raises UserError where the fixture is ill-conditioned."""
    fixture = make(task, seed)
    base = answer(oracle(fixture.task), fixture, "float64")
    kappa = _largest(
        measure(answer(oracle(fixture.task), perturbed(fixture, d, "float64"), "float64"), base)
        for d in range(DRAWS)
    )
    kappa = {name: value / roundoff("float64") for name, value in kappa.items()}
    refuse(kappa, fixture)
    draws = [perturbed(fixture, d, "float32") for d in range(DRAWS)]
    strayed = _largest(
        measure(answer(oracle(f.task, "float32"), f, "float32"), answer(oracle(f.task), f, "float64"))
        for f in draws
    )
    return Reference(fixture, base, kappa, strayed)


def plan(fixture: Fixture) -> list[tuple[str, int]]:
    """Which optimiser is followed for how many steps: the task's own to the end, the other for level 4."""
    own = fixture.task.training.optimiser
    return [(own, len(fixture.batches)), ("sgd" if own == "adam" else "adam", OPTIMISER_STEPS)]


def answer(impl: Implementation, fixture: Fixture, dtype: str) -> Answers:
    """Levels 1 to 3 of an implementation, from both carries."""
    impl.load(weights.cast(fixture.params, dtype))
    batch = tasks.cast(fixture.batches[0], dtype)
    carries = {case: weights.cast(carry, dtype) for case, carry in fixture.carries.items()}
    return Answers(
        forward={case: impl.forward(batch, carry) for case, carry in carries.items()},
        loss={case: impl.loss(batch, carry) for case, carry in carries.items()},
        gradients={case: impl.gradients(batch, carry) for case, carry in carries.items()},
    )


def train(impl: Implementation, fixture: Fixture, dtype: str, steps: int) -> list[Step]:
    """``steps`` training steps from the fixture's weights, every one looked at.

    A random carry is loaded: the first step starts from it, or, where the task is not
    stateful, must not.
    """
    impl.load(weights.cast(fixture.params, dtype), weights.cast(fixture.carries["random"], dtype))
    placed = [impl.place(tasks.cast(batch, dtype)) for batch in fixture.batches[:steps]]
    seen = []
    for k, batch in enumerate(placed):
        loss = float(impl.fetch(impl.step(batch)))
        inferred = {"logits": impl.fetch(impl.infer(placed[0]))} if k < OPTIMISER_STEPS else {}
        seen.append(Step(loss, impl.dump(), impl.dump_optimiser(), impl.dump_carry(), inferred))
    return seen


def measure(got: Answers, expected: Answers) -> Errors:
    """The error of each tensor, the larger of both cases."""
    found: Errors = {}
    for case in expected.loss:
        pairs = expected.forward[case] | expected.gradients[case]
        have = got.forward[case] | got.gradients[case]
        errors = {name: error(have[name], value) for name, value in pairs.items()}
        errors["loss"] = error(np.array(got.loss[case]), np.array(expected.loss[case]))
        found = _largest([found, errors])
    return found


def measure_step(got: Step, expected: Step) -> Errors:
    """The error of each tensor after a step; counts are not measured."""
    pairs = expected.params | expected.carry | expected.optimiser | expected.inferred
    have = got.params | got.carry | got.optimiser | got.inferred
    errors = {name: error(have[name], value) for name, value in pairs.items()}
    errors["loss"] = error(np.array(got.loss), np.array(expected.loss))
    return errors


def perturbed(fixture: Fixture, draw: int, dtype: str) -> Fixture:
    """Every weight, carry and float input moved by one ulp of ``dtype``, up or down; zeros stay."""
    rng = seeds.generator(fixture.seed, "perturbed", dtype, str(draw))

    def move(array: Array) -> Array:
        if array.dtype == np.int32:
            return array
        value = array.astype(dtype)
        towards = np.where(rng.random(value.shape) < 0.5, -np.inf, np.inf).astype(dtype)
        moved: Array = np.where(value == 0, value, np.nextafter(value, towards))
        return moved

    return replace(
        fixture,
        params={name: move(value) for name, value in fixture.params.items()},
        carries={
            case: {name: move(value) for name, value in carry.items()}
            for case, carry in fixture.carries.items()
        },
        batches=tuple(Batch(move(batch.inputs), batch.targets) for batch in fixture.batches),
    )


def refuse(kappa: Errors, fixture: Fixture) -> None:
    """Raise UserError where a tensor is so ill-conditioned that passing would mean nothing."""
    worst = max(kappa, key=kappa.__getitem__)
    if kappa[worst] > KAPPA_LIMIT:
        task = fixture.task
        raise UserError(
            f"fixture refused: task {task.name}, size {task.size}, cell {task.model.cell}, "
            f"seed {fixture.seed}: expected a condition number of at most {KAPPA_LIMIT:g}, "
            f"got {kappa[worst]:.3g} for {worst}. "
            f"Take another --seed or a smaller --length."
        )


def _envelope(draws: list[Fixture], optimiser: str, steps: int) -> list[Errors]:
    """Per step, the largest error so far of the oracle's float32 training over all draws."""
    runs = []
    for f in draws:
        task = with_optimiser(f.task, optimiser)
        exact, rounded = (
            train(oracle(task), f, "float64", steps),
            train(oracle(task, "float32"), f, "float32", steps),
        )
        runs.append([measure_step(a, b) for a, b in zip(rounded, exact, strict=True)])
    envelope: list[Errors] = []
    for k in range(steps):
        so_far = envelope[-1:] + [run[k] for run in runs]
        envelope.append(_largest(so_far))
    return envelope


def horizon(envelope: list[Errors], params: Arrays) -> int:
    """How many steps the oracle's own float32 error of every parameter stays within HORIZON."""
    for k, errors in enumerate(envelope):
        if max(errors[name] for name in params) > HORIZON:
            return k
    return len(envelope)


def _largest(many: Iterable[Errors]) -> Errors:
    largest: Errors = {}
    for errors in many:
        for name, value in errors.items():
            largest[name] = max(value, largest.get(name, 0.0))
    return largest


def with_optimiser(task: Task, optimiser: str) -> Task:
    """The task, trained by another optimiser."""
    return replace(task, training=replace(task.training, optimiser=optimiser))
