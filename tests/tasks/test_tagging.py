"""Tags that hang on the next token, and how well they can be known without it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from fractions import Fraction
from itertools import islice, product

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.spec import PAD, Task

EXACT = 1e-12


def changed(task: Task, outputs: int = 3, bidirectional: bool = False, **options: object) -> Task:
    """The task with other options in its data source."""
    model = dataclasses.replace(task.model, outputs=outputs, bidirectional=bidirectional)
    data = dataclasses.replace(task.data, options=dict(task.data.options) | options)
    return dataclasses.replace(task, model=model, data=data)


def test_a_tag_is_the_sum_of_a_token_and_the_next() -> None:
    task = spec.load("tagging", size="small")
    for batch in islice(tasks.batches(task, 0), 20):
        assert batch.lengths is not None
        for x, y, n in zip(batch.inputs.tolist(), batch.targets.tolist(), batch.lengths, strict=True):
            assert task.length / 2 <= n <= task.length
            assert all(1 <= token < task.model.vocabulary for token in x[:n])
            assert y[: n - 1] == [(x[t] + x[t + 1]) % 3 for t in range(n - 1)]
            assert y[n - 1] == x[n - 1] % 3
            assert x[n:] == y[n:] == [PAD] * (task.length - n)


def test_every_length_and_token_comes_as_often_as_it_should() -> None:
    task = spec.load("tagging", size="small", length=7)
    batches = list(islice(tasks.batches(task, 0), 500))
    lengths = np.concatenate([batch.lengths for batch in batches])  # type: ignore[misc]
    tokens = np.concatenate([batch.inputs.ravel() for batch in batches])
    drawn = np.bincount(lengths, minlength=8)
    assert set(np.flatnonzero(drawn)) == {4, 5, 6, 7}
    # binomial shares of 16 000 and of some 80 000: five standard errors
    assert np.abs(drawn[4:] / len(lengths) - 1 / 4).max() < 0.018
    shares = np.bincount(tokens[tokens != PAD], minlength=13) / (tokens != PAD).sum()
    assert np.abs(shares[[3, 6, 9, 12]] - 1 / 8).max() < 0.006
    assert np.abs(shares[[1, 2, 4, 5, 7, 8, 10, 11]] - 1 / 16).max() < 0.005


def shares(task: Task, K: int, weights: list[int]) -> list[Fraction]:
    """How likely a token is of each class, counted token by token."""
    mass = [Fraction(0)] * K
    for token in range(1, task.model.vocabulary):
        mass[token % K] += weights[token % K]
    return [part / sum(mass) for part in mass]


def best(task: Task, p: list[Fraction], forward_only: bool) -> float:
    """The best accuracy of who knows the place and the classes so far, or all: every sequence, summed."""
    K, T = len(p), task.length
    lengths = range((T + 1) // 2, T + 1)
    known: dict[object, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * K)
    for n in lengths:
        for x in product(range(K), repeat=n):
            chance = Fraction(1, len(lengths))
            for c in x:
                chance *= p[c]
            for t in range(n):
                tag = (x[t] + (x[t + 1] if t + 1 < n else 0)) % K
                known[(t, x[: t + 1]) if forward_only else (t, x)][tag] += chance
    mean_length = Fraction(sum(lengths), len(lengths))
    return float(sum(max(mass) for mass in known.values()) / mean_length)


def most_frequent(task: Task, p: list[Fraction]) -> float:
    """The share of the tag that comes most: every sequence, summed."""
    K, lengths = len(p), range((task.length + 1) // 2, task.length + 1)
    mass = [Fraction(0)] * K
    for n in lengths:
        for x in product(range(K), repeat=n):
            chance = Fraction(1)
            for c in x:
                chance *= p[c]
            for one, other in zip(x, (*x[1:], 0), strict=True):
                mass[(one + other) % K] += chance
    return float(max(mass) / sum(lengths))


@pytest.mark.parametrize(
    ("weights", "V", "T"), [([2, 1, 1], 13, 5), ([2, 1, 1], 13, 6), ([3, 2], 8, 7), ([5, 1, 3, 2], 11, 4)]
)
def test_the_ceiling_and_the_baseline_are_those_of_every_sequence_summed(
    weights: list[int], V: int, T: int
) -> None:
    one_way = spec.load("tagging", size="forward", length=T)
    one_way = dataclasses.replace(one_way, model=dataclasses.replace(one_way.model, vocabulary=V))
    one_way = changed(one_way, outputs=len(weights), weights=weights)
    both_ways = changed(one_way, outputs=len(weights), bidirectional=True)
    p = shares(one_way, len(weights), weights)
    assert abs(tasks.facts(one_way).optimum - best(one_way, p, forward_only=True)) < EXACT
    assert tasks.facts(both_ways).optimum == best(both_ways, p, forward_only=False) == 1
    for task in (one_way, both_ways):
        assert abs(tasks.facts(task).baseline - most_frequent(task, p)) < EXACT
        assert tasks.facts(task).unit == "accuracy"


def test_the_ceiling_at_the_trained_size_by_hand() -> None:
    """p_0 = 1/2; lengths 10 to 20, 15 in the mean: (14 / 2 + 1) / 15."""
    assert abs(tasks.facts(spec.load("tagging", size="forward")).optimum - 8 / 15) < EXACT
    assert tasks.facts(spec.load("tagging", size="small")).optimum == 1


def test_the_best_forward_guess_meets_its_ceiling_on_the_data() -> None:
    task = spec.load("tagging", size="forward")
    right = count = 0
    for batch in tasks.held_out(task, 0):
        valid = np.arange(task.length) < batch.lengths[:, None]  # type: ignore[index]
        right += ((batch.inputs % 3 == batch.targets) & valid).sum()
        count += valid.sum()
    # some 30 000 tags: the standard error is 0.003
    assert abs(right / count - tasks.facts(task).optimum) < 0.012


def test_held_out_sequences_are_drawn_apart() -> None:
    task = spec.load("tagging", size="small")
    trained = {row.tobytes() for batch in islice(tasks.batches(task, 0), 200) for row in batch.inputs}
    held_out = list(tasks.held_out(task, 0))
    assert not trained & {row.tobytes() for batch in held_out for row in batch.inputs}
    again = list(tasks.held_out(task, 0))
    assert all((a.inputs == b.inputs).all() for a, b in zip(held_out, again, strict=True))


@pytest.mark.parametrize(
    "weights", [[1, 2, 1], [2, 1], [2, 1, 1, 1], [2, 1, 0], [2, 1, -1], [2.0, 1, 1], [2, 1, "1"], [], 4, None]
)
def test_weights_that_would_void_the_ceiling_are_refused(weights: object) -> None:
    task = changed(spec.load("tagging"), weights=weights)
    with pytest.raises(UserError, match="data source 'generated': weights: expected"):
        next(tasks.batches(task, 0))
    with pytest.raises(UserError, match="weights"):
        tasks.facts(task)


def test_class_0_must_be_the_likeliest_of_all_tokens_not_of_each() -> None:
    """Tokens 1 to 10 have two of class 0 mod 4 and three of class 2: 2 x 5 < 3 x 4."""
    task = spec.load("tagging")
    task = dataclasses.replace(task, model=dataclasses.replace(task.model, vocabulary=11))
    with pytest.raises(
        UserError, match=r"tokens of class 0 to be the likeliest, got .*\[10  3 12  4\] in all"
    ):
        tasks.facts(changed(task, outputs=4, weights=[5, 1, 4, 2]))
