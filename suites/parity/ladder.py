"""The parity ladder: each level is harder to fool than the one before.

0  data and weights are the frozen ones; weights and carry survive load and dump
1  forward: every hidden state, final states, logits, in training and in evaluation; the
   timed ``infer``; the carry that a training step leaves
2  the loss
3  every gradient, of the initial state and of the input too
4  moments, parameters, step count and what these weights answer after steps 1 to 3; in
   float64, where no rounding hides anything, under the other optimiser too, for longer;
   where a loss can be zero, a step without a gradient
5  the whole trajectory: loss and parameters after every step; a second time, for the same bits
6  quality over seeds: not climbed here, ``suites/train`` measures it
7  what the trained model writes by itself, greedy and sampled at two temperatures

Where sequences have lengths of their own, levels 1 to 3 are asked again with other tokens
in the padding, and must be answered the same, and with the shortest and longest lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from suites import weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity import digests
from suites.parity.comparator import Finding, compare, compare_tokens
from suites.parity.decoding import TIES, Text, Ties
from suites.parity.extremes import extremes, still
from suites.parity.fixtures import poisoned
from suites.parity.level import Level, level_of
from suites.parity.pieces import exact, fresh_optimiser, scalars, split, write_over
from suites.parity.reference import (
    OTHER_STEPS,
    WHOLE,
    ZERO,
    Reference,
    Step,
    asked,
    horizon,
    perturbed,
    placed,
    train,
    undropped,
    with_optimiser,
)
from suites.parity.tolerances import (
    MARGIN,
    OPTIMISER_STEPS,
    Rule,
    beside_oracle,
    conditioned,
    limit,
)
from suites.parity.trajectory import Trajectory, repeated
from suites.precision import kept
from suites.spec import BOS, PAD, Task


@dataclass
class Climb:
    """One row on the ladder: what it is compared with, and its implementation, built once."""

    reference: Reference
    precision: str
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
    def dtype(self) -> str:
        """Of the arrays that come and go."""
        return kept(self.precision)

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
        findings = [digests.check(self.reference.fixture), *self._as_loaded("load, dump")]
        return level_of(0, findings + self._as_loaded("dump, when what it gave is written over"))

    # levels 1 to 3: the first batch, from both carries

    def _forward(self) -> Level:
        fixture, answers, rule = self.reference.fixture, self.reference.answers.forward, self._rule()
        findings = self._asked(self.impl.forward, answers, rule, "forward")
        if any(finding.failed for finding in findings):
            return level_of(1, findings)  # a step might crash on what is wrong here, and hide it
        evaluated = answers[f"{ZERO}, {WHOLE}" if fixture.batches[0].masks is not None else ZERO]
        findings += self._asked(self._infer, {ZERO: {"logits": evaluated["logits"]}}, rule, "infer")
        self._load(fixture.params)
        self.impl.step(placed(self.impl, fixture.batches[0], self.dtype))
        findings += compare(self._left(), self.impl.dump_carry(), rule, self.dtype, "carry after a step")
        return level_of(1, findings, detail=self._unrounded(findings))

    def _unrounded(self, findings: list[Finding]) -> str:
        """What to say of a declared precision that does not show: no framework must round at every shape."""
        strict = beside_oracle(self.reference.float32)("logits").value
        shown = any(finding.error > strict for finding in findings if finding.tensor == "logits")
        return "" if self.precision == self.dtype or shown else f"as exact as {self.dtype}"

    def _loss(self) -> Level:
        def ask(batch: Batch, carry: Arrays) -> Arrays:
            return {"loss": np.array(self.impl.loss(batch, carry), self.dtype)}

        return level_of(2, self._asked(ask, self.reference.answers.loss, self._rule(), "loss"))

    def _gradients(self) -> Level:
        answers = self.reference.answers.gradients
        return level_of(3, self._asked(self.impl.gradients, answers, self._rule(), "gradients"))

    def _asked(
        self, ask: Callable[[Batch, Arrays], Arrays], answers: dict[str, Arrays], rule: Rule, about: str
    ) -> list[Finding]:
        """Every case that is answered; where there is padding, also with other tokens in it.

        What is asked changes nothing inside.
        """
        sound, findings = self.reference.fixture, []
        bad = poisoned(sound)
        rounds = [(sound, asked(sound, self.dtype), "")]
        if bad is not None:
            rounds.append((bad, asked(bad, self.dtype), ", padding poisoned"))
            rounds.append((sound, extremes(sound, self.dtype), ""))
        for fixture, cases, padding in rounds:
            self._load(fixture.params, fixture.start)  # a carry that no answer may start from
            cases |= undropped(cases)
            for case, expected in answers.items():
                if case in cases:
                    where = f"{about}, {case}{padding}"
                    findings += compare(expected, ask(*cases[case]), rule, self.dtype, where)
            findings += self._as_loaded(f"{about}, left behind")
        return findings

    def _infer(self, batch: Batch, carry: Arrays) -> Arrays:
        """The logits, after those of another batch: what that leaves behind must not reach them."""
        asked, other = (
            placed(self.impl, given, self.dtype) for given in (batch, self.reference.fixture.batches[1])
        )
        self.impl.infer(other)
        return {"logits": self.impl.fetch(self.impl.infer(asked))}

    # levels 4 and 5: training

    def _optimiser(self) -> Level:
        findings: list[Finding] = []
        for optimiser, steps in self.reference.training.items():
            own = optimiser == self.reference.fixture.task.training.optimiser
            if not own and self.dtype == "float32":
                continue
            impl = self.impl if own else self.build(with_optimiser(self.reference.fixture.task, optimiser))
            steps = steps[:OPTIMISER_STEPS] if own else steps  # its own are followed to the end at level 5
            got = train(impl, self.reference.fixture, self.dtype, len(steps), inferring=own)
            for k, (have, want) in enumerate(zip(got, steps, strict=True)):
                rule = self._training_rule(optimiser, k, "factor")
                findings += self._step(have, want, rule, f"{optimiser} step {k + 1}")
        if any(finding.failed for finding in findings):
            return level_of(4, findings)  # as at level 1
        return level_of(4, findings + self._still())

    def _still(self) -> list[Finding]:
        """Where there is no gradient, clipping divides by no norm, and a step moves nothing but its count."""
        asked = still(self.reference.fixture)
        if asked is None:
            return []
        params, batch = asked
        self._load(params)
        self.impl.step(placed(self.impl, batch, self.dtype))
        expected = weights.cast(params, self.dtype)
        state = fresh_optimiser(self.reference.fixture.task, expected) | {"step": np.array(1, np.int64)}
        seen = (expected, self.impl.dump()), (state, self.impl.dump_optimiser())
        rule, where = exact("no gradient, no change"), "a step without a gradient"
        return [f for want, got in seen for f in compare(want, got, rule, self.dtype, where)]

    def _trajectory(self) -> Level:
        fixture = self.reference.fixture
        whole = len(fixture.batches)
        steps = whole
        if self.dtype == "float32":
            steps = horizon(self.reference.training_float32, fixture.params, self.precision)
        got = train(self.impl, fixture, self.dtype, steps)
        findings: list[Finding] = []
        inside = steps
        for k, (have, want) in enumerate(
            zip(got, self.reference.training[fixture.task.training.optimiser], strict=False)
        ):
            rule = self._training_rule(fixture.task.training.optimiser, k, "trajectory")
            found = compare(*scalars(want.loss, have.loss, self.dtype), rule, self.dtype, f"step {k + 1}")
            found += compare(want.params, have.params, rule, self.dtype, f"step {k + 1}")
            if any(finding.failed for finding in found):
                inside = min(inside, k)
            findings += found
        again = train(self.impl, fixture, self.dtype, steps if self.dtype == "float32" else OTHER_STEPS)
        seen = Trajectory(
            steps=steps,
            of=whole,
            inside=inside,
            horizon=steps + 1 if steps < whole else None,
            losses=tuple(step.loss for step in got),
            repeat=repeated(got, again),
        )
        level = replace(level_of(5, findings, detail=f"{steps} steps"), trajectory=seen)
        if level.status == "passed" and steps < whole:
            scaled = "" if self.precision == "float32" else f", scaled to {self.precision},"
            passed = f"passes {limit(self.precision):g} after {steps} of {whole} steps"
            detail = f"the oracle's own float32 error{scaled} {passed}"
            return replace(level, status="horizon reached", detail=detail)
        return level

    # level 7

    def _decode(self) -> Level:
        """Weights that give no constant text; a random carry, which it may not start from.

        Another text comes first: what its weights, batch and draws leave behind must not reach it.
        """
        decoded, tolerance = self.reference.decoded, self._rule()("logits").value
        tied = self._tied(decoded.ties)
        self._load(decoded.params, self.reference.fixture.start)
        batch = placed(self.impl, decoded.batch, self.dtype)
        findings: list[Finding] = []
        compared = whole = decoded.ties.tokens.size
        for case, text in decoded.texts.items():
            got = self._written(batch, text.tokens.shape[1], text.placed(tolerance), text.temperature)
            counted = text.counted(tolerance)
            compared += int(counted.sum())
            whole += counted.size
            origin = f"while the oracle's margin is {MARGIN} x {tolerance:.1e} x max|logits|"
            findings.append(compare_tokens(text.tokens, got, counted, origin, case))
        findings += [*tied, *self._as_loaded("decode")]
        if self.dtype == "float64":  # float32's own error of a step is larger than the draws' distance
            findings.append(self._stepped(batch, decoded.stepped, tolerance))
        return level_of(7, findings, detail=f"{compared} of {whole} tokens compared")

    def _tied(self, ties: Ties) -> list[Finding]:
        """Tokens that follow from the head's bias alone: PAD, BOS; those of draws on a boundary, exactly."""
        findings, every = [], np.ones(ties.tokens.shape, bool)
        steps = ties.tokens.shape[1]
        for token in (PAD, BOS):
            peak = np.arange(len(ties.params["head.b_q"])) == token
            self._load(ties.params | {"head.b_q": peak.astype(np.float32)})
            got = self._written(placed(self.impl, ties.batch, self.dtype), steps)
            findings.append(compare_tokens(token * every, got, every, "exact", f"greedy, {token} throughout"))
        self._load(ties.params)
        got = self._written(placed(self.impl, ties.batch, self.dtype), steps, ties.draws)
        return [*findings, compare_tokens(ties.tokens, got, every, "exact", TIES)]

    def _stepped(self, batch: Any, text: Text, tolerance: float) -> Finding:
        """The same once it has been trained: the weights are no longer those of ``load``."""
        self.impl.step(placed(self.impl, self.reference.fixture.batches[1], self.dtype))
        got = self._written(batch, text.tokens.shape[1], text.placed(tolerance), text.temperature)
        origin = f"while the oracle's margin is {MARGIN} x {tolerance:.1e} x max|logits|"
        return compare_tokens(text.tokens, got, text.counted(tolerance), origin, "sampled, after a step")

    def _written(self, batch: Any, steps: int, draws: Array | None = None, temperature: float = 1.0) -> Array:
        """What ``decode`` writes. Its draws are written over at once: it has taken copies."""
        if draws is None:
            return self.impl.fetch(self.impl.decode(batch, steps))
        own = draws.copy()
        tokens = self.impl.decode(batch, steps, own, temperature)
        own[...] = 0
        return self.impl.fetch(tokens)

    # helpers

    def _load(self, params: Arrays, carry: Arrays | None = None) -> None:
        given = weights.cast(params, self.dtype), None if carry is None else weights.cast(carry, self.dtype)
        self.impl.load(*given)
        for arrays in given:
            write_over(arrays or {})  # load has taken copies, so these are ours to use again
        self._loaded = params, self.reference.fixture.carries["zero"] if carry is None else carry

    def _as_loaded(self, where: str) -> list[Finding]:
        """Parameters, optimiser and, where it counts, carry are those of a fresh load."""
        rule = exact("bits must be equal")
        params, carry = (weights.cast(arrays, self.dtype) for arrays in self._loaded)
        fresh = fresh_optimiser(self.reference.fixture.task, params)
        seen = [(params, self.impl.dump(), where)]
        if self.reference.fixture.task.training.stateful:
            seen.append((carry, self.impl.dump_carry(), f"{where}, dump_carry"))
        seen.append((fresh, self.impl.dump_optimiser(), where))
        findings = [f for want, got, at in seen for f in compare(want, got, rule, self.dtype, at)]
        for _, got, _ in seen:
            write_over(got)  # they own their memory, so these are ours
        return findings

    def _left(self) -> Arrays:
        """What a step from zeros must leave as the next step's carry."""
        fixture = self.reference.fixture
        if not fixture.task.training.stateful:
            return weights.cast(fixture.carries["zero"], "float64")
        final = self.reference.answers.forward[ZERO]
        return {name: final[f"final.{name}"] for name in fixture.carries["zero"]}

    def _rule(self) -> Rule:
        """Of levels 1 to 3 and 7."""
        kappa = self.reference.kappa
        rule = (
            conditioned(kappa)
            if self.dtype == "float64"
            else beside_oracle(self.reference.float32, self.precision)
        )
        return lambda name: rule(name if name in kappa else f"final.{name}")

    def _training_rule(self, optimiser: str, k: int, constant: str) -> Rule:
        """Of levels 4 and 5, after step k + 1; ``constant`` is float32's."""
        if self.dtype == "float64":
            return conditioned(self.reference.training_kappa(optimiser)[k], "training")
        return beside_oracle(self.reference.training_float32[k], self.precision, constant)

    def _step(self, have: Step, want: Step, rule: Rule, where: str) -> list[Finding]:
        """Loss, count, moments, parameters, carry, infer: in the order in which an error arises."""
        count, moments = split(want.optimiser)
        have_count, have_moments = split(have.optimiser)
        findings = compare(*scalars(want.loss, have.loss, self.dtype), rule, self.dtype, where)
        findings += compare(count, have_count, exact("a count"), self.dtype, where)
        pairs = (moments, have_moments), (want.params, have.params), (want.carry, have.carry)
        for wanted, got in (*pairs, (want.inferred, have.inferred)):
            findings += compare(wanted, got, rule, self.dtype, where)
        return findings
