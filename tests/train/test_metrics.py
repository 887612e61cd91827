"""Metrics by hand, and the state that goes on through held-out text."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from suites import spec, tasks, weights
from suites.interface import Batch
from suites.tasks.char_lm import data
from suites.train import metrics


def test_squared_error_by_hand() -> None:
    assert metrics.squared_error(np.array([[1.0], [3.0]], np.float32), np.array([[0.5], [1.0]])) == 0.25 + 4


def test_a_fair_coin_costs_one_bit() -> None:
    summed = metrics.cross_entropy(np.zeros((2, 3, 2), np.float32), np.ones((2, 3), np.int32))
    found = metrics.named_entropy(summed / 6)
    assert abs(found["nats"] - math.log(2)) < 1e-15
    assert abs(found["bits"] - 1) < 1e-15
    assert abs(found["perplexity"] - 2) < 1e-15


def test_cross_entropy_by_hand() -> None:
    """Scores 1, 2, 3, the target the last: -log(e^3 / (e + e^2 + e^3))."""
    expected = math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 3
    found = metrics.cross_entropy(np.array([[[1.0, 2.0, 3.0]]]), np.array([[2]], np.int32))
    assert abs(found - expected) < 1e-15


def test_large_scores_do_not_overflow_and_a_hopeless_model_has_no_perplexity() -> None:
    scores, target = np.array([[[0.0, 1e4]]], np.float32), np.array([[0]], np.int32)
    found = metrics.named_entropy(metrics.cross_entropy(scores, target))
    assert found["nats"] == 1e4
    assert found["perplexity"] == math.inf


@pytest.mark.parametrize("name", spec.names())
def test_the_first_metric_is_in_the_unit_of_optimum_and_baseline(name: str) -> None:
    task = spec.load(name)
    _, named = metrics.METRICS[task.model.loss]
    assert next(iter(named(1.0))) == tasks.facts(task).unit


class Source:
    """Answers with the Markov source's own law; its state holds the character before the first."""

    def __init__(self, forgets: bool) -> None:
        self.log_p = np.log(data.transitions(13, 2, 8))
        self.forgets = forgets

    def forward(self, batch: Batch, carry: dict[str, Any]) -> dict[str, Any]:
        last = np.rint(carry["encoder.0.fwd.h"][:, :1]).astype(np.int32)
        before = np.concatenate([last * (not self.forgets), batch.inputs[:, :-1]], axis=1)
        logits = self.log_p[before * 13 + batch.inputs]
        state = np.repeat(batch.inputs[:, -1:], carry["encoder.0.fwd.h"].shape[1], axis=1)
        return {"logits": logits, "hidden.encoder.0.fwd": logits, "final.encoder.0.fwd.h": state}


def entropy(forgets: bool) -> float:
    task = spec.load("char_lm", cell="rnn", size="small")
    impl: Any = Source(forgets)
    return metrics.evaluate(impl, task, "float64", tasks.held_out(task, 0))["nats"]


def test_who_knows_the_source_has_its_entropy_rate() -> None:
    """65 536 predictions with a standard deviation of about 1.1: four standard errors are 0.017."""
    rate = tasks.facts(spec.load("char_lm")).optimum
    assert abs(entropy(forgets=False) - rate) < 0.017
    assert entropy(forgets=True) - rate > 0.017  # 1 of 32 characters is guessed from the wrong one


class Counter:
    """Adds one to the state at each call, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[float] = []

    def forward(self, batch: Batch, carry: dict[str, Any]) -> dict[str, Any]:
        h = carry["encoder.0.fwd.h"]
        self.given.append(float(h[0, 0]))
        return {"logits": batch.targets * 0.0, "final.encoder.0.fwd.h": h + 1}


@pytest.mark.parametrize(("stateful", "given"), [(True, [0, 1, 2, 3]), (False, [0, 0, 0, 0])])
def test_only_a_stateful_task_keeps_its_state(stateful: bool, given: list[float]) -> None:
    task = spec.load("adding", cell="gru")
    task = dataclasses.replace(task, training=dataclasses.replace(task.training, stateful=stateful))
    impl: Any = Counter()
    held_out = list(tasks.held_out(task, 0))
    found = metrics.evaluate(impl, task, "float32", held_out)
    assert impl.given == given
    squares = [float((batch.targets.astype(np.float64) ** 2).mean()) for batch in held_out]
    assert abs(found["squared error"] - np.mean(squares)) < 1e-12


def test_the_final_state_is_a_carry() -> None:
    task = spec.load("char_lm", cell="lstm")
    zero = weights.carry(task, None)
    answer = {f"final.{name}": value for name, value in zero.items()} | {"logits": np.zeros(1)}
    assert metrics.final(answer).keys() == zero.keys()
