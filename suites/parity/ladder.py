"""The parity ladder: each level is harder to fool than the one before.

0  data and weights are the frozen ones; weights and carry survive load and dump
1  forward: every hidden state, final states, logits, in training and in evaluation; the
   timed ``infer``; the carry that a training step leaves
2  the loss
3  every gradient, of the initial state and of the input too
4  moments, parameters, step count and ``infer`` after steps 1 to 3; in float64, where no
   rounding hides anything, under the other optimiser too
5  the whole trajectory: loss and parameters after every step
6  quality over seeds: not climbed here, ``suites/train`` measures it
7  what the trained model writes by itself, greedy and sampled

Where sequences have lengths of their own, levels 1 to 3 are asked again with other tokens
in the padding, and must be answered the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from suites import tasks, weights
from suites.interface import Arrays, Batch, Implementation
from suites.parity import digests
from suites.parity.comparator import Finding, compare, compare_tokens
from suites.parity.decoding import SAMPLED, TEMPERATURE
from suites.parity.fixtures import poisoned
from suites.parity.level import Level
from suites.parity.reference import (
    WHOLE,
    ZERO,
    Reference,
    Step,
    asked,
    horizon,
    perturbed,
    train,
    undropped,
    with_optimiser,
)
from suites.parity.tolerances import (
    HORIZON,
    MARGIN,
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
        checks = [self._data, self._forward, self._loss, self._gradients, self._optimiser, self._trajectory]
        if self.reference.fixture.task.model.generates:
            checks.append(self._decode)
        for check in checks:
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
        self._load(moved.params, moved.start)
        return _level(0, [digests.check(self.reference.fixture), *self._as_loaded("load, dump")])

    # levels 1 to 3: the first batch, from both carries

    def _forward(self) -> Level:
        fixture, answers, rule = self.reference.fixture, self.reference.answers.forward, self._rule()
        findings = self._asked(self.impl.forward, answers, rule, "forward")
        if any(finding.failed for finding in findings):
            return _level(1, findings)  # a step might crash on what is wrong here, and hide it
        evaluated = answers[f"{ZERO}, {WHOLE}" if fixture.batches[0].masks is not None else ZERO]
        findings += self._asked(self._infer, {ZERO: {"logits": evaluated["logits"]}}, rule, "infer")
        self._load(fixture.params)
        self.impl.step(self.impl.place(tasks.cast(fixture.batches[0], self.dtype)))
        findings += compare(self._left(), self.impl.dump_carry(), rule, self.dtype, "carry after a step")
        return _level(1, findings)

    def _loss(self) -> Level:
        rule = flat("loss") if self.dtype == "float64" else beside_oracle(self.reference.float32)

        def ask(batch: Batch, carry: Arrays) -> Arrays:
            return {"loss": np.array(self.impl.loss(batch, carry), self.dtype)}

        return _level(2, self._asked(ask, self.reference.answers.loss, rule, "loss"))

    def _gradients(self) -> Level:
        answers = self.reference.answers.gradients
        return _level(3, self._asked(self.impl.gradients, answers, self._rule(), "gradients"))

    def _asked(
        self, ask: Callable[[Batch, Arrays], Arrays], answers: dict[str, Arrays], rule: Rule, about: str
    ) -> list[Finding]:
        """Every case that is answered; then, where there is padding, again with other tokens in it.

        What is asked changes nothing inside.
        """
        sound, findings = self.reference.fixture, []
        for fixture, padding in ((sound, ""), (poisoned(sound), ", padding poisoned")):
            if fixture is None:
                continue
            self._load(fixture.params, fixture.start)  # a carry that no answer may start from
            cases = asked(fixture, self.dtype)
            cases |= undropped(cases)
            for case, expected in answers.items():
                findings += compare(
                    expected, ask(*cases[case]), rule, self.dtype, f"{about}, {case}{padding}"
                )
            findings += self._as_loaded(f"{about}, left behind")
        return findings

    def _infer(self, batch: Batch, carry: Arrays) -> Arrays:
        """The logits, after those of another batch: what that leaves behind must not reach them."""
        other = tasks.cast(self.reference.fixture.batches[1], self.dtype)
        placed, before = self.impl.place(batch), self.impl.place(other)
        self.impl.infer(before)
        return {"logits": self.impl.fetch(self.impl.infer(placed))}

    # levels 4 and 5: training

    def _optimiser(self) -> Level:
        findings: list[Finding] = []
        for optimiser, steps in self.reference.training.items():
            own = optimiser == self.reference.fixture.task.training.optimiser
            if not own and self.dtype == "float32":
                continue
            impl = self.impl if own else self.build(with_optimiser(self.reference.fixture.task, optimiser))
            got = train(impl, self.reference.fixture, self.dtype, OPTIMISER_STEPS, inferring=own)
            for k, (have, want) in enumerate(zip(got, steps[:OPTIMISER_STEPS], strict=True)):
                rule = self._training_rule("optimiser", k)
                findings += self._step(have, want, rule, f"{optimiser} step {k + 1}")
        return _level(4, findings)

    def _trajectory(self) -> Level:
        fixture = self.reference.fixture
        optimiser = fixture.task.training.optimiser
        steps = len(fixture.batches)
        if self.dtype == "float32":
            steps = horizon(self.reference.training_float32, fixture.params)
        got = train(self.impl, fixture, self.dtype, steps)
        findings: list[Finding] = []
        for k, (have, want) in enumerate(zip(got, self.reference.training[optimiser], strict=False)):
            rule = self._training_rule("trajectory", k)
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

    # level 7

    def _decode(self) -> Level:
        """Weights that give no constant text; a random carry, which it may not start from.

        Another text comes first: what its weights, batch and draws leave behind must not reach it.
        """
        decoded, other = self.reference.decoded, tasks.cast(self.reference.fixture.batches[1], self.dtype)
        self._load({name: w[::-1] for name, w in decoded.params.items()})
        before, steps = self.impl.place(other), decoded.draws.shape[1]
        self.impl.fetch(self.impl.decode(before, steps))
        self.impl.fetch(self.impl.decode(before, steps, decoded.draws[::-1].copy(), 1.0))
        self._load(decoded.params, self.reference.fixture.start)
        tolerance = self._rule()("logits")
        placed = self.impl.place(tasks.cast(decoded.batch, self.dtype))
        findings, compared = [], 0
        for case, expected in decoded.tokens.items():
            sampling = (decoded.draws, TEMPERATURE) if case == SAMPLED else ()
            got = self.impl.fetch(self.impl.decode(placed, expected.shape[1], *sampling))
            counted = decoded.counted(case, tolerance.value)
            compared += int(counted.sum())
            origin = f"while the oracle's margin is {MARGIN} x {tolerance.value:.1e} x max|logits|"
            findings.append(compare_tokens(expected, got, counted, origin, case))
        findings += self._as_loaded("decode")
        whole = sum(expected.size for expected in decoded.tokens.values())
        return _level(7, findings, detail=f"{compared} of {whole} tokens compared")

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
        final = self.reference.answers.forward[ZERO]
        return {name: final[f"final.{name}"] for name in fixture.carries["zero"]}

    def _rule(self) -> Rule:
        """Of levels 1, 3 and 7."""
        kappa = self.reference.kappa
        rule = conditioned(kappa) if self.dtype == "float64" else beside_oracle(self.reference.float32)
        return lambda name: rule(name if name in kappa else f"final.{name}")

    def _training_rule(self, what: str, k: int) -> Rule:
        if self.dtype == "float64":
            return flat(what)
        return beside_oracle(self.reference.training_float32[k])

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


def _split(optimiser: Arrays) -> tuple[Arrays, Arrays]:
    return {k: v for k, v in optimiser.items() if k == "step"}, {
        k: v for k, v in optimiser.items() if k != "step"
    }
