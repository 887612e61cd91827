"""What the oracle answers to a fixture, how well conditioned the question is, and how far
the oracle's own float32 strays: everything a row is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from results.errors import UserError
from suites import seeds, tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity import cache, decoding
from suites.parity.comparator import error
from suites.parity.extremes import Cases, extremes
from suites.parity.fixtures import Fixture, make, oracle
from suites.parity.tolerances import DRAWS, KAPPA_LIMIT, OPTIMISER_STEPS, coarser, limit
from suites.precision import roundoff
from suites.spec import Task

Errors = dict[str, float]
ZERO, WHOLE = "carry zero", "nothing dropped"
OTHER_STEPS = 10  # of the optimiser that the task does not train with: past those looked at whole


@dataclass(frozen=True)
class Answers:
    """Levels 1 to 3 on the first batch: per case of :func:`asked`, named tensors."""

    forward: dict[str, Arrays]  # of :func:`undropped` too
    loss: dict[str, Arrays]
    gradients: dict[str, Arrays]


@dataclass(frozen=True)
class Step:
    """What was seen of one training step."""

    loss: float
    params: Arrays
    # nothing after the first OPTIMISER_STEPS
    optimiser: Arrays
    carry: Arrays
    inferred: Arrays  # of the first batch, by the weights of now; nothing where it was not asked for


@dataclass(frozen=True)
class Reference:
    """The oracle's answers, with the measured conditioning and float32 error of each tensor."""

    fixture: Fixture
    answers: Answers
    kappa: Errors  # per tensor, "loss" included
    float32: Errors  # the oracle's float32 error per tensor, largest of the draws

    @cached_property
    def training(self) -> dict[str, list[Step]]:
        """Per optimiser: the task's own to STEPS, the other to OTHER_STEPS."""
        return {
            optimiser: _trained(self.fixture, optimiser, "float64", steps)
            for optimiser, steps in plan(self.fixture)
        }

    @cached_property
    def strayed(self) -> dict[str, dict[str, list[Errors]]]:
        """The task's own in float32: per step the error of each tensor, the largest of all draws so far."""
        found: dict[str, dict[str, list[Errors]]] = cache.kept(self.fixture, lambda: _strayed(self))
        return found

    @property
    def training_float32(self) -> list[Errors]:
        """The task's own optimiser in float32: per step the oracle's error of each tensor."""
        return self.strayed["float32"][self.fixture.task.training.optimiser]

    def training_kappa(self, optimiser: str) -> list[Errors]:
        """Per step of :attr:`training` the condition number of each tensor."""
        return self.strayed["kappa"][optimiser]

    @cached_property
    def decoded(self) -> decoding.Decoded:
        """What the oracle writes after its training, with weights rounded to float32."""
        learnt = self.training[self.fixture.task.training.optimiser][-1].params
        return decoding.ask(replace(self.fixture, params=weights.cast(learnt, "float32")))


@lru_cache(maxsize=2)
def reference(task: Task, seed: int) -> Reference:
    """Ask the oracle everything. Raises UserError where the fixture is ill-conditioned."""
    return answered(make(task, seed))


def answered(fixture: Fixture) -> Reference:
    """The oracle's answers to a fixture. Raises UserError as :func:`reference`."""
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
    return [(own, len(fixture.batches)), ("sgd" if own == "adam" else "adam", OTHER_STEPS)]


def asked(fixture: Fixture, dtype: str) -> Cases:
    """What levels 1 to 3 ask: the first batch, as it is for training, from each carry."""
    batch = tasks.cast(fixture.batches[0], dtype)
    return {f"carry {case}": (batch, weights.cast(carry, dtype)) for case, carry in fixture.carries.items()}


def undropped(cases: Cases) -> Cases:
    """What level 1 asks besides, where there are masks: the same without them."""
    return {
        f"{case}, {WHOLE}": (batch._replace(masks=None), carry)
        for case, (batch, carry) in cases.items()
        if batch.masks is not None
    }


def answer(impl: Implementation, fixture: Fixture, dtype: str) -> Answers:
    """Levels 1 to 3 of an implementation, in every case."""
    impl.load(weights.cast(fixture.params, dtype))
    cases = asked(fixture, dtype) | extremes(fixture, dtype)
    layers = fixture.task.model.layers
    return Answers(
        forward={
            case: travelled(impl.forward(*given), layers)
            for case, given in (cases | undropped(cases)).items()
        },
        loss={case: {"loss": np.array(impl.loss(*given))} for case, given in cases.items()},
        gradients={case: impl.gradients(*given) for case, given in cases.items()},
    )


def travelled(answers: Arrays, layers: int) -> Arrays:
    """What ``forward`` gives, in the order in which an error travels.

    Encoder before decoder, lower layers first; of the top layer every h before the final
    state; logits last.
    """

    def place(name: str) -> tuple[int, int, bool]:
        if name == "logits":
            return 2, 0, False
        kind, stack, *layer = name.split(".")
        return int(stack == "decoder"), int(layer[0]) if layer else layers - 1, kind == "final"

    return {name: answers[name] for name in sorted(answers, key=place)}


def train(
    impl: Implementation, fixture: Fixture, dtype: str, steps: int, inferring: bool = True
) -> list[Step]:
    """``steps`` training steps from the fixture's weights, every one looked at.

    A random carry is loaded: the first step starts from it, or, where the task is not
    stateful, must not.
    """
    impl.load(weights.cast(fixture.params, dtype), weights.cast(fixture.start, dtype))
    batches = [placed(impl, batch, dtype) for batch in fixture.batches[:steps]]
    seen = []
    for k, batch in enumerate(batches):
        loss = float(impl.fetch(impl.step(batch)))
        if k < OPTIMISER_STEPS:
            inferred = _after(impl, fixture, dtype, batches[0]) if inferring else {}
            seen.append(Step(loss, impl.dump(), impl.dump_optimiser(), impl.dump_carry(), inferred))
        else:
            seen.append(Step(loss, impl.dump(), {}, {}, {}))
    return seen


def _after(impl: Implementation, fixture: Fixture, dtype: str, first: Any) -> Arrays:
    """What the weights of now say of the first batch: those of ``load`` are no longer any."""
    batch, carry = asked(fixture, dtype)[ZERO]
    return {
        "logits": impl.fetch(impl.infer(first)),
        "logits of forward": impl.forward(batch, carry)["logits"],
        "loss of the first batch": np.array(impl.loss(batch, carry), dtype),
    }


def placed(impl: Implementation, batch: Batch, dtype: str) -> Any:
    """The batch on the device. What was handed over is written over: ``place`` has taken copies."""
    own = [None if array is None else np.array(array) for array in tasks.cast(batch, dtype)]
    handle = impl.place(Batch._make(own))
    for array in own:
        if array is not None:
            array[...] = 1  # legal as a token, a length and a target too
    return handle


def measure(got: Answers, expected: Answers) -> Errors:
    """The error of each tensor, the largest of all cases."""
    pairs = ((got.forward, expected.forward), (got.loss, expected.loss), (got.gradients, expected.gradients))
    return _largest(
        {name: error(have[case][name], value) for name, value in want[case].items()}
        for have, want in pairs
        for case in want
    )


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
        if array.dtype.kind != "f":
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
        batches=tuple(batch._replace(inputs=move(batch.inputs)) for batch in fixture.batches),
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


def _trained(fixture: Fixture, optimiser: str, dtype: str, steps: int) -> list[Step]:
    """The oracle's training under an optimiser; ``infer`` is asked under the task's own."""
    impl = oracle(with_optimiser(fixture.task, optimiser), dtype)
    return train(impl, fixture, dtype, steps, inferring=optimiser == fixture.task.training.optimiser)


def _strayed(reference: Reference) -> dict[str, dict[str, list[Errors]]]:
    """Training from draws that lie one ulp of float32 beside the fixture, per optimiser and step.

    "float32": how far the oracle in float32 strays from itself in float64 (of the task's own optimiser);
    "kappa": how far the oracle in float64 strays from its training from the fixture, in u of float32.
    """
    fixture, found = reference.fixture, {"float32": dict[str, Any](), "kappa": dict[str, Any]()}
    own = fixture.task.training.optimiser
    draws = [perturbed(fixture, d, "float32") for d in range(DRAWS)]
    for optimiser, base in reference.training.items():
        exact = [_trained(draw, optimiser, "float64", len(base)) for draw in draws]
        kappa = _so_far([list(map(measure_step, run, base)) for run in exact])
        u = roundoff("float32")
        found["kappa"][optimiser] = [{name: e / u for name, e in step.items()} for step in kappa]
        if optimiser == own:
            rounded = (_trained(draw, own, "float32", len(base)) for draw in draws)
            runs = [list(map(measure_step, a, b)) for a, b in zip(rounded, exact, strict=True)]
            found["float32"][own] = _so_far(runs)
    return found


def _so_far(runs: list[list[Errors]]) -> list[Errors]:
    """Per step and tensor the largest error of all runs up to there.

    The first steps have each other's, too: a few draws of one step alone are at times all lucky.
    """
    steps = [_largest(run[k] for run in runs) for k in range(len(runs[0]))]
    first = _largest(steps[:OPTIMISER_STEPS])
    seen: list[Errors] = []
    for step in steps:
        so_far = _largest([*seen[-1:], step, first])
        seen.append({name: so_far[name] for name in step})
    return seen


def horizon(envelope: list[Errors], params: Arrays, dtype: str = "float32") -> int:
    """How many steps the oracle's own error of every parameter, in float32 or scaled to a declared
    precision, stays within its limit."""
    for k, errors in enumerate(envelope):
        if coarser(dtype) * max(errors[name] for name in params) > limit(dtype):
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
