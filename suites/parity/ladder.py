"""The parity ladder: levels 0 to 5, each harder to fool than the one before.

0  data and weights are the frozen ones; weights and carry survive load and dump
1  forward: every hidden state, final states, logits; the timed ``infer``; the carry
   that a training step leaves
2  the loss
3  every gradient, of the initial state and of the input too
4  moments, parameters, step count and ``infer`` after steps 1 to 3, both optimisers
5  the whole trajectory: loss and parameters after every step
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from suites import tasks, weights
from suites.interface import Arrays, Implementation
from suites.parity import digests
from suites.parity.comparator import Finding, compare
from suites.parity.level import Level
from suites.parity.reference import Reference, Step, horizon, perturbed, train, with_optimiser
from suites.parity.tolerances import (
    HORIZON,
    OPTIMISER_STEPS,
    Rule,
    Tolerance,
    beside_oracle,
    conditioned,
    flat,
)
from suites.spec import Task


@dataclass
class Climb:
    """One row on the ladder: what it is compared with, and its implementation, built once."""

    reference: Reference
    dtype: str
    build: Callable[[Task], Implementation]
    _own: Implementation | None = field(default=None, init=False)
    _loaded: tuple[Arrays, Arrays] = field(default=({}, {}), init=False)

    def levels(self) -> Iterator[Level]:
        """Each level as it is done; the first failure ends the climb."""
        for check in (
            self._data,
            self._forward,
            self._loss,
            self._gradients,
            self._optimiser,
            self._trajectory,
        ):
            level = check()
            yield level
            if level.status == "failed":
                return

    @property
    def impl(self) -> Implementation:
        """The implementation under the task's own optimiser."""
        if self._own is None:
            self._own = self.build(self.reference.fixture.task)
        return self._own

    # level 0

    def _data(self) -> Level:
        """The numbers lie one ulp of the row's dtype beside float32's: no narrower memory holds them."""
        moved = perturbed(self.reference.fixture, 0, self.dtype)
        self._load(moved.params, moved.carries["random"])
        return _level(0, [digests.check(self.reference.fixture), *self._as_loaded("load, dump")])

    # levels 1 to 3: the first batch, from both carries

    def _forward(self) -> Level:
        fixture, expected = self.reference.fixture, self.reference.answers.forward
        rule = self._rule(self.reference.kappa, self.reference.float32)
        self._load(fixture.params, fixture.carries["random"])  # which no answer may start from
        first, second = (tasks.cast(batch, self.dtype) for batch in fixture.batches[:2])
        findings = []
        for case in ("zero", "random"):
            carry = weights.cast(fixture.carries[case], self.dtype)
            got = self.impl.forward(first, carry)
            findings += compare(_forward_order(expected[case]), got, rule, self.dtype, f"carry {case}")
        if any(finding.failed for finding in findings):
            return _level(1, findings)  # a step might crash on what is wrong here, and hide it
        logits = {"logits": expected["zero"]["logits"]}
        placed, other = self.impl.place(first), self.impl.place(second)
        self.impl.infer(other)  # what it leaves behind must not reach the next call
        inferred = {"logits": self.impl.fetch(self.impl.infer(placed))}
        findings += compare(logits, inferred, rule, self.dtype, "infer")
        findings += self._as_loaded("forward, infer")
        self._load(fixture.params)
        self.impl.step(placed)
        findings += compare(self._left(), self.impl.dump_carry(), rule, self.dtype, "carry after a step")
        return _level(1, findings)

    def _loss(self) -> Level:
        fixture, expected = self.reference.fixture, self.reference.answers.loss
        rule = flat("loss") if self.dtype == "float64" else beside_oracle(self.reference.float32)
        self._load(fixture.params)
        batch = tasks.cast(fixture.batches[0], self.dtype)
        findings = []
        for case, value in expected.items():
            got = self.impl.loss(batch, weights.cast(fixture.carries[case], self.dtype))
            findings += compare(*_scalars(value, got, self.dtype), rule, self.dtype, f"carry {case}")
        return _level(2, findings + self._as_loaded("loss"))

    def _gradients(self) -> Level:
        fixture, expected = self.reference.fixture, self.reference.answers.gradients
        rule = self._rule(self.reference.kappa, self.reference.float32)
        self._load(fixture.params)
        batch = tasks.cast(fixture.batches[0], self.dtype)
        findings = []
        for case, value in expected.items():
            got = self.impl.gradients(batch, weights.cast(fixture.carries[case], self.dtype))
            findings += compare(value, got, rule, self.dtype, f"carry {case}")
        return _level(3, findings + self._as_loaded("gradients"))

    # levels 4 and 5: training

    def _optimiser(self) -> Level:
        findings: list[Finding] = []
        for optimiser, steps in self.reference.training.items():
            impl = self.impl
            if optimiser != self.reference.fixture.task.training.optimiser:
                impl = self.build(with_optimiser(self.reference.fixture.task, optimiser))
            got = train(impl, self.reference.fixture, self.dtype, OPTIMISER_STEPS)
            for k, (have, want) in enumerate(zip(got, steps[:OPTIMISER_STEPS], strict=True)):
                rule = self._training_rule("optimiser", optimiser, k)
                findings += self._step(have, want, rule, f"{optimiser} step {k + 1}")
        return _level(4, findings)

    def _trajectory(self) -> Level:
        fixture = self.reference.fixture
        optimiser = fixture.task.training.optimiser
        envelope = self.reference.training_float32[optimiser]
        steps = len(fixture.batches) if self.dtype == "float64" else horizon(envelope, fixture.params)
        got = train(self.impl, fixture, self.dtype, steps)
        findings: list[Finding] = []
        for k, (have, want) in enumerate(zip(got, self.reference.training[optimiser], strict=False)):
            rule = self._training_rule("trajectory", optimiser, k)
            findings += compare(
                *_scalars(want.loss, have.loss, self.dtype), rule, self.dtype, f"step {k + 1}"
            )
            findings += compare(want.params, have.params, rule, self.dtype, f"step {k + 1}")
        level = _level(5, findings, detail=f"{steps} steps")
        if level.status == "passed" and steps < len(fixture.batches):
            whole = len(fixture.batches)
            detail = f"the oracle's own float32 error passes {HORIZON:g} after {steps} of {whole} steps"
            return replace(level, status="horizon reached", detail=detail)
        return level

    # helpers

    def _load(self, params: Arrays, carry: Arrays | None = None) -> None:
        given = weights.cast(params, self.dtype), None if carry is None else weights.cast(carry, self.dtype)
        self.impl.load(*given)
        for array in (*given[0].values(), *(given[1] or {}).values()):
            array[...] = 7  # load has taken copies, so this is ours to use again
        self._loaded = params, self.reference.fixture.carries["zero"] if carry is None else carry

    def _as_loaded(self, where: str) -> list[Finding]:
        """Parameters, optimiser and, where it counts, carry are those of a fresh load."""
        exact = _exact("bits must be equal")
        params, carry = (weights.cast(arrays, self.dtype) for arrays in self._loaded)
        fresh = fresh_optimiser(self.reference.fixture.task, params)
        findings = compare(params, self.impl.dump(), exact, self.dtype, where)
        if self.reference.fixture.task.training.stateful:
            findings += compare(carry, self.impl.dump_carry(), exact, self.dtype, f"{where}, dump_carry")
        return findings + compare(fresh, self.impl.dump_optimiser(), exact, self.dtype, where)

    def _left(self) -> Arrays:
        """What a step from zeros must leave as the next step's carry."""
        fixture = self.reference.fixture
        if not fixture.task.training.stateful:
            return weights.cast(fixture.carries["zero"], "float64")
        final = self.reference.answers.forward["zero"]
        return {name: final[f"final.{name}"] for name in fixture.carries["zero"]}

    def _rule(self, kappa: dict[str, float], float32: dict[str, float]) -> Rule:
        rule = conditioned(kappa) if self.dtype == "float64" else beside_oracle(float32)
        return lambda name: rule(name if name in kappa else f"final.{name}")

    def _training_rule(self, what: str, optimiser: str, k: int) -> Rule:
        if self.dtype == "float64":
            return flat(what)
        return beside_oracle(self.reference.training_float32[optimiser][k])

    def _step(self, have: Step, want: Step, rule: Rule, where: str) -> list[Finding]:
        """Loss, count, moments, parameters, carry, infer: in the order in which an error arises."""
        count, moments = _split(want.optimiser)
        have_count, have_moments = _split(have.optimiser)
        findings = compare(*_scalars(want.loss, have.loss, self.dtype), rule, self.dtype, where)
        findings += compare(count, have_count, _exact("a count"), self.dtype, where)
        pairs = (moments, have_moments), (want.params, have.params), (want.carry, have.carry)
        for wanted, got in (*pairs, (want.inferred, have.inferred)):
            findings += compare(wanted, got, rule, self.dtype, where)
        return findings


def fresh_optimiser(task: Task, params: Arrays) -> Arrays:
    """What ``dump_optimiser`` gives right after ``load``."""
    moments = ("m.", "v.") if task.training.optimiser == "adam" else ()
    zeros = {moment + name: np.zeros_like(value) for moment in moments for name, value in params.items()}
    return {"step": np.array(0, np.int64), **zeros}


def _level(number: int, findings: list[Finding], detail: str = "") -> Level:
    status = "failed" if any(finding.failed for finding in findings) else "passed"
    return Level(number, status, tuple(findings), detail)


def _exact(origin: str) -> Rule:
    return lambda name: Tolerance(0.0, origin)


def _scalars(want: float, got: float, dtype: str) -> tuple[Arrays, Arrays]:
    return {"loss": np.array(want, np.float64)}, {"loss": np.array(got, dtype)}


def _forward_order(answers: Arrays) -> Arrays:
    """Hidden states before final states before logits: the order in which an error travels."""
    order = ("hidden", "final", "logits")
    return {name: answers[name] for name in sorted(answers, key=lambda name: order.index(name.split(".")[0]))}


def _split(optimiser: Arrays) -> tuple[Arrays, Arrays]:
    return {k: v for k, v in optimiser.items() if k == "step"}, {
        k: v for k, v in optimiser.items() if k != "step"
    }
