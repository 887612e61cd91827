"""Metrics by hand, over valid predictions alone, and the state that goes on through held-out text."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice
from typing import Any

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks, weights
from suites.implementations import builder, find
from suites.interface import Batch
from suites.spec import EOS, PAD, Model, Task
from suites.tasks.char_lm import data
from suites.train import metrics


def model(**what: Any) -> Model:
    return dataclasses.replace(spec.load("adding", cell="gru").model, **what)


DECODER = model(wiring="encoder_decoder", head="every", loss="cross_entropy", generates=True)
A, B = 3, 4  # tokens


class Answers:
    """Stands for an implementation: decodes to the given tokens, whatever it is asked."""

    def __init__(self, tokens: Any = None) -> None:
        self.tokens = tokens

    def place(self, batch: Batch) -> Batch:
        return batch

    def decode(self, placed: Batch, steps: int) -> Any:
        return np.array(self.tokens)[:, :steps]

    def fetch(self, value: Any) -> Any:
        return value


def means(model: Model, logits: Any, batch: Batch, tokens: Any = None) -> dict[str, float]:
    impl: Any = Answers(tokens)
    found = metrics.measured(impl, model, batch, np.asarray(logits))
    return {name: float(values.mean()) for name, values in found.items()}


# By hand


def test_squared_error_by_hand() -> None:
    batch = Batch(np.zeros(0), np.array([[0.5], [1.0]], np.float32))
    assert means(model(), np.array([[1.0], [3.0]], np.float32), batch) == {"squared error": (0.25 + 4) / 2}


def test_a_fair_coin_costs_one_bit() -> None:
    nats = metrics.cross_entropy(np.zeros((2, 3, 2)), np.ones((2, 3), np.int32))["nats"]
    assert nats.shape == (2, 3)
    found = metrics.per_token(float(nats.mean()))
    assert abs(found["bits"] - 1) < 1e-15
    assert abs(found["perplexity"] - 2) < 1e-15


def test_cross_entropy_by_hand() -> None:
    """Scores 1, 2, 3, the target the last: -log(e^3 / (e + e^2 + e^3))."""
    expected = math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 3
    found = metrics.cross_entropy(np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]), np.array([2, 2], np.int32))
    assert abs(found["nats"][0] - expected) < 1e-15
    assert abs(found["nats"][1] - expected - 1) < 1e-15
    assert list(found["accuracy"]) == [True, False]


def test_binary_cross_entropy_by_hand() -> None:
    logits, targets = np.array([[2.0], [-1.0], [0.5]]), np.array([[1], [0], [0]], np.float32)
    found = metrics.binary_cross_entropy(logits, targets)
    shares = [1 / (1 + math.exp(-2)), 1 - 1 / (1 + math.exp(1)), 1 - 1 / (1 + math.exp(-0.5))]
    for nats, share in zip(found["nats"][:, 0], shares, strict=True):
        assert abs(nats + math.log(share)) < 1e-15
    assert list(found["accuracy"][:, 0]) == [True, True, False]


def test_large_scores_do_not_overflow_and_a_hopeless_model_has_no_perplexity() -> None:
    scores, target = np.array([[0.0, 1e4]]), np.array([0], np.int32)
    nats = float(metrics.cross_entropy(scores, target)["nats"][0])
    assert nats == 1e4
    assert metrics.per_token(nats)["perplexity"] == math.inf
    assert metrics.binary_cross_entropy(np.array([-1e4, 1e4]), np.array([1.0, 1.0]))["nats"].tolist() == [
        1e4,
        0,
    ]


# Valid predictions


@pytest.mark.parametrize(
    ("what", "ragged", "expected"),
    [
        ({"head": "every"}, {"lengths": [1, 3]}, [[True, False, False], [True, True, True]]),
        ({"head": "every"}, {}, [[True] * 3] * 2),
        ({"head": "final"}, {"lengths": [1, 3]}, [[True] * 3] * 2),  # it is no step that is counted
        (
            {"wiring": "encoder_decoder", "head": "every"},
            {"lengths": [1, 1], "target_lengths": [3, 2]},
            [[True, True, True], [True, True, False]],
        ),
    ],
)
def test_a_target_counts_within_its_sequence(what: Any, ragged: dict[str, Any], expected: Any) -> None:
    lengths = {name: np.array(value, np.int32) for name, value in ragged.items()}
    batch = Batch(np.zeros((2, 3)), np.zeros((2, 3), np.int32), **lengths)
    assert metrics.valid(model(**what), batch).tolist() == expected
    vectors = batch._replace(targets=np.zeros((2, 3, 2)))
    found = metrics.valid(model(**what), vectors)
    assert found.shape == (2, 3, 2)
    assert found[..., 1].tolist() == expected


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy", "binary_cross_entropy"])
def test_padding_changes_nothing(loss: str) -> None:
    rng = np.random.default_rng(0)
    logits, targets = (
        rng.random((2, 3, 4)),
        rng.integers(0, 2, (2, 3) if loss == "cross_entropy" else (2, 3, 4)),
    )
    lengths = np.array([1, 3], np.int32)
    asked = model(head="every", loss=loss)
    clean = means(asked, logits, Batch(np.zeros(0), targets, lengths))
    poisoned, others = logits.copy(), targets.copy()
    poisoned[0, 1:], others[0, 1:] = np.nan, 1 - others[0, 1:]
    assert means(asked, poisoned, Batch(np.zeros(0), others, lengths)) == clean
    assert means(asked, poisoned, Batch(np.zeros(0), others, None)) != clean


# Decoders


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ([[A, B, EOS, PAD], [B, EOS, PAD, PAD]], 1.0),
        ([[A, B, EOS, PAD], [B, EOS, A, A]], 1.0),  # beyond EOS nobody looks
        ([[A, B, EOS, PAD], [A, EOS, PAD, PAD]], 0.5),
        ([[A, B, B, EOS], [B, EOS, PAD, PAD]], 0.5),  # EOS comes too late
        ([[A, EOS, PAD, PAD], [B, B, B, B]], 0.0),  # too early, never
    ],
)
def test_exact_match_is_to_the_end_and_with_it(tokens: Any, share: float) -> None:
    targets = np.array([[A, B, EOS, PAD], [B, EOS, PAD, PAD]], np.int32)
    batch = Batch(np.zeros(0), targets, target_lengths=np.array([3, 2], np.int32))
    logits = np.eye(5)[np.array([[A, B, EOS, A], [B, B, A, A]])]  # 4 of 5 valid ones right, teacher-forced
    found = means(DECODER, logits, batch, tokens)
    assert (found["exact match"], found["token accuracy"]) == (share, 0.8)
    assert "accuracy" not in found


def test_without_lengths_every_token_must_be_right() -> None:
    batch = Batch(np.zeros(0), np.array([[A, EOS, PAD], [A, B, EOS]], np.int32))
    assert means(DECODER, np.zeros((2, 3, 5)), batch, [[A, EOS, PAD], [A, B, EOS]])["exact match"] == 1
    assert means(DECODER, np.zeros((2, 3, 5)), batch, [[A, EOS, A], [A, B, EOS]])["exact match"] == 0.5


# Every task


def built(task: Task) -> Any:
    """NumPy's implementation in float64, at its first weights."""
    impl = builder(find("numpy"), "scratch")(task, "float64", "cpu")
    impl.load(weights.cast(weights.initial(task, 0), "float64"))
    return impl


def evaluated(task: Task, impl: Any, **what: Any) -> dict[str, float]:
    return metrics.evaluate(impl, task, "float64", tasks.held_out(task, 0), tasks.facts(task).unit, **what)


@pytest.mark.parametrize("name", spec.names())
def test_the_metrics_of_a_task(name: str) -> None:
    """The first is in the unit of optimum and baseline, all are numbers, and the loss is among them."""
    task = spec.load(name)
    impl = built(task)
    found = evaluated(task, impl)
    assert next(iter(found)) == tasks.facts(task).unit in ("squared error", "nats", "accuracy", "exact match")
    assert all(map(math.isfinite, found.values()))
    (batch,) = islice(tasks.held_out(task, 0), 1)
    batch = tasks.cast(batch, "float64")
    alone = metrics.evaluate(impl, task, "float64", [batch], tasks.facts(task).unit)
    loss = impl.loss(batch, weights.cast(weights.carry(task, None), "float64"))
    name = "squared error" if task.model.loss == "squared_error" else "nats"
    assert abs(alone[name] - loss) < 1e-12 * abs(loss)


def test_what_a_model_has() -> None:
    """Bits and perplexity are a language model's, exact match a decoder's."""
    task = spec.load("char_lm", cell="gru")
    language = {"nats", "accuracy", "bits", "perplexity"}
    assert set(evaluated(task, built(task))) == language
    plain = dataclasses.replace(task, model=dataclasses.replace(task.model, generates=False))
    assert set(evaluated(plain, built(plain))) == {"nats", "accuracy"}


def test_a_unit_that_the_model_has_not_is_named() -> None:
    task = spec.load("adding", cell="gru")
    with pytest.raises(UserError, match="adding: facts: expected a unit out of squared error, got 'nats'"):
        metrics.evaluate(built(task), task, "float64", tasks.held_out(task, 0), "nats")


class Looking:
    """Keeps what it was given; answers that nothing is likelier than anything else."""

    def __init__(self) -> None:
        self.given: list[Batch] = []

    def forward(self, batch: Batch, carry: Any) -> dict[str, Any]:
        self.given.append(batch)
        return {"logits": np.zeros((*batch.targets.shape, 13))}


def test_masks_are_for_training() -> None:
    task, impl = spec.load("char_lm", cell="gru"), Looking()
    task = dataclasses.replace(task, training=dataclasses.replace(task.training, stateful=False))
    masked = [batch._replace(masks=np.ones((1, 2, 3, 4), bool)) for batch in tasks.held_out(task, 0)]
    given: Any = impl
    metrics.evaluate(given, task, "float32", masked, "nats")
    assert len(impl.given) == len(masked)
    assert all(batch.masks is None for batch in impl.given)


# The state


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
        return {"logits": logits, "hidden.encoder": logits, "final.encoder.0.fwd.h": state}


def entropy(forgets: bool) -> float:
    task = spec.load("char_lm", cell="rnn", size="small")
    return evaluated(task, Source(forgets))["nats"]


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
    impl = Counter()
    found = evaluated(task, impl)
    assert impl.given == given
    squares = [float((batch.targets.astype(np.float64) ** 2).mean()) for batch in tasks.held_out(task, 0)]
    assert abs(found["squared error"] - np.mean(squares)) < 1e-12


def test_the_final_state_is_a_carry() -> None:
    task = spec.load("char_lm", cell="lstm")
    zero = weights.carry(task, None)
    answer = {f"final.{name}": value for name, value in zero.items()} | {"logits": np.zeros(1)}
    assert metrics.final(answer).keys() == zero.keys()
