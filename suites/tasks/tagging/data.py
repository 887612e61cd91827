"""Tag every token, where the tag hangs on the token that comes next.

The tag of step t is (x_t + x_{t+1}) mod K, K the number of tags; after the last
token comes PAD, which is 0, so the last tag is x_t mod K. Read both ways this can be
done without error; read forward only, the next token is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from suites import seeds
from suites.interface import Batch
from suites.seeds import Integers
from suites.spec import PAD, Task
from suites.tasks import Facts
from suites.tasks.options import bad, option


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs, targets [B, T] int32, lengths [B] from T/2 (rounded up) to T; PAD and tag 0 beyond them.

    Raises UserError for weights that do not suit the number of tags.
    """
    return _draw(task, seeds.generator(seed, "tagging", "data"))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same, drawn apart."""
    return _draw(task, seeds.generator(seed, "tagging", "held-out"))


def facts(task: Task) -> Facts:
    """The best accuracy, and that of the one tag that is right most often.

    Both ways: 1. Forward only the best guess is x_t mod K: as if what follows were of
    class 0, the likeliest, and as it is at the end. It is right at the last token of
    n, and with probability p_0 at the others: ((n - 1) p_0 + 1) / n, n the mean length.
    """
    p = _classes(task)
    K, n = len(p), Fraction(sum(_lengths(task)), len(_lengths(task)))
    ceiling = ((n - 1) * p[0] + 1) / n
    summed = [sum(p[c] * p[(k - c) % K] for c in range(K)) for k in range(K)]  # of two tokens
    shares = [((n - 1) * summed[k] + p[k]) / n for k in range(K)]
    optimum = 1.0 if task.model.bidirectional else float(ceiling)
    return Facts(optimum=optimum, baseline=float(max(shares)), unit="accuracy")


def _draw(task: Task, rng: np.random.Generator) -> Iterator[Batch]:
    B, T, K = task.batch, task.length, task.model.outputs
    urn, lengths_of = _urn(task), _lengths(task)
    while True:
        lengths = seeds.integers(rng, lengths_of.start, lengths_of.stop, (B,))
        drawn = urn[seeds.integers(rng, 0, len(urn), (B, T))]
        valid = np.arange(T) < lengths[:, None]  # [B, T]
        inputs = np.where(valid, drawn, PAD)
        following = np.concatenate([inputs[:, 1:], np.full((B, 1), PAD)], axis=1)
        targets = np.where(valid, (inputs + following) % K, 0)
        yield Batch(inputs.astype(np.int32), targets.astype(np.int32), lengths.astype(np.int32))


def _lengths(task: Task) -> range:
    """The lengths that are drawn, each as often as the others."""
    return range((task.length + 1) // 2, task.length + 1)


def _urn(task: Task) -> Integers:
    """Tokens 1 to V - 1, token x as many times as its class, x mod K, weighs. Raises UserError.

    Class 0 must be the likeliest: else the best guess would hang on where a sequence may end.
    """
    K, weights = task.model.outputs, option(task, "weights", list)
    if len(weights) != K or not all(type(weight) is int and weight > 0 for weight in weights):
        raise bad(task, "weights", f"{K} whole numbers above 0, one a tag (outputs)", weights)
    tokens = range(1, task.model.vocabulary)
    urn = np.array([x for x in tokens for _ in range(weights[x % K])], np.int64)
    counts = np.bincount(urn % K, minlength=K)
    if counts[0] < counts.max():
        raise bad(task, "weights", "tokens of class 0 to be the likeliest", f"{weights}, {counts} in all")
    return urn


def _classes(task: Task) -> list[Fraction]:
    """p [K]: how likely a token is of class x mod K = k."""
    urn, K = _urn(task), task.model.outputs
    return [Fraction(int(count), len(urn)) for count in np.bincount(urn % K, minlength=K)]
