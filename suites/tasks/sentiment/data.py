"""Is a sentence for or against? A grammar with negation by default, film reviews as real text.

The grammar: the verdict y is 1 with probability ``positive_share``; the length is uniform in 1..T;
each word on its own is a sentiment word (``sentiment``), a negator (``negation``) or a filler.
A sentiment word says y with probability ``agreement``, else the contrary; but where an odd number of
negators stands between it and the sentiment word before, the word is the one of the other side:
"not dull" speaks for the film. So the order decides, and no count of words will do.

Real text: a line is ``0`` or ``1`` and a sentence. Tokens are what stands between white space; the
vocabulary is the most frequent words of the training sentences (of equals, the one seen first); all
other words are UNKNOWN.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from results.errors import UserError
from suites import seeds
from suites.interface import Array, Batch
from suites.spec import PAD, Task
from suites.tasks import Facts, fetch
from suites.tasks.options import bad, option
from suites.tasks.sequences import (
    Line,
    Sequences,
    in_order,
    majority,
    numbered,
    shuffled,
    sides,
    split,
)

UNKNOWN = PAD + 1  # the token of every word outside the vocabulary; its words come after


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T] int32, PAD beyond lengths [B]; targets [B, 1]: 1 for, 0 against."""
    if "url" not in task.data.options:
        return _draw(task, seeds.generator(seed, "sentiment", "data"))
    training, _ = _real_text(task)
    return map(_batch, shuffled(task, training, seed))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same, drawn apart (a short sentence may come in both); or the real ones held out, once."""
    if "url" not in task.data.options:
        return _draw(task, seeds.generator(seed, "sentiment", "held-out"))
    _, held = _real_text(task)
    return map(_batch, in_order(task, held))


def facts(task: Task) -> Facts:
    """The accuracy of the best possible answer, and of always answering the more frequent verdict.

    Real text: the second of all its held-out sentences; nobody knows the first.
    """
    if "url" in task.data.options:
        return Facts(float("nan"), majority(_real_text(task)[1].labels), "accuracy")
    grammar = grammar_of(task)
    return Facts(bayes_accuracy(grammar, task.length), max(grammar.share, 1 - grammar.share), "accuracy")


@dataclass(frozen=True)
class Grammar:
    """The probabilities of the grammar, and the kinds of its words: tokens from 1, kind after kind."""

    share: float  # of y = 1
    sentiment: float  # that a word is a sentiment word
    negation: float  # that it is a negator
    agreement: float  # that a sentiment word says y
    positive: range  # tokens
    negative: range
    negators: range
    fillers: range


def grammar_of(task: Task) -> Grammar:
    """The grammar of the data source. Raises UserError where it is none."""
    keys = ("positive_share", "sentiment", "negation", "agreement")
    share, sentiment, negation, agreement = (option(task, key, float) for key in keys)
    bounds = [PAD + 1]
    for kind in ("positive", "negative", "negators"):
        bounds.append(bounds[-1] + option(task, kind, int))
    V = task.model.vocabulary
    if bounds[-1] >= V:
        raise bad(task, "vocabulary", f"more than {bounds[-1]}, for fillers beside the other words", V)
    if sentiment + negation > 1:
        raise bad(task, "sentiment", "with negation 1 at most", sentiment + negation)
    kinds = (range(a, b) for a, b in zip(bounds, [*bounds[1:], V], strict=True))
    return Grammar(share, sentiment, negation, agreement, *kinds)


def bayes_accuracy(grammar: Grammar, T: int) -> float:
    """What is right most often of all that can be answered, exactly.

    Undo the negations, and a sentence of n words is k sentiment words, k of Binomial(n, sentiment),
    each saying y with probability q. That j of them say 1 has P(j, 1) = share C(k, j) q^j (1 - q)^(k - j)
    where y = 1, likewise P(j, 0), and nothing else in the sentence hangs on y. The best answer takes
    the greater: the sum over n, k, j of P(n) P(k | n) max(P(j, 1), P(j, 0)).
    """
    p, q, share = grammar.sentiment, grammar.agreement, grammar.share

    def right(k: int) -> float:
        says_1 = [share * q**j * (1 - q) ** (k - j) for j in range(k + 1)]
        says_0 = [(1 - share) * (1 - q) ** j * q ** (k - j) for j in range(k + 1)]
        return sum(comb(k, j) * max(says_1[j], says_0[j]) for j in range(k + 1))

    def of_length(n: int) -> float:
        return sum(comb(n, k) * p**k * (1 - p) ** (n - k) * right(k) for k in range(n + 1))

    return sum(map(of_length, range(1, T + 1))) / T


def _draw(task: Task, rng: np.random.Generator) -> Iterator[Batch]:
    grammar, B, T = grammar_of(task), task.batch, task.length
    while True:
        y = rng.random(B) < grammar.share  # [B]
        lengths = seeds.integers(rng, 1, T + 1, (B,))
        kind, agrees, which = rng.random((3, B, T))
        is_sentiment = kind < grammar.sentiment  # [B, T]
        is_negator = ~is_sentiment & (kind < grammar.sentiment + grammar.negation)
        says_1 = (agrees < grammar.agreement) == y[:, None]
        is_positive = says_1 != negated(is_sentiment, is_negator)
        tokens = np.select(
            [is_sentiment & is_positive, is_sentiment, is_negator],
            [_pick(grammar.positive, which), _pick(grammar.negative, which), _pick(grammar.negators, which)],
            _pick(grammar.fillers, which),
        )
        tokens[np.arange(T) >= lengths[:, None]] = PAD
        yield _batch(Sequences(tokens.astype(np.int32), lengths.astype(np.int32), y.astype(np.int32)))


def negated(is_sentiment: Array, is_negator: Array) -> Array:
    """[B, T]: whether an odd number of negators stands between a word and the sentiment word before it."""
    found: Array = np.zeros_like(is_negator)
    odd = np.zeros(len(is_negator), bool)
    for t in range(is_negator.shape[1]):
        found[:, t] = odd
        odd = (odd ^ is_negator[:, t]) & ~is_sentiment[:, t]
    return found


def _pick(tokens: range, u: Array) -> Array:
    """One of the tokens for each u in [0, 1)."""
    found: Array = tokens.start + np.floor(len(tokens) * u).astype(np.int64)
    return found


def _batch(drawn: Sequences) -> Batch:
    return Batch(drawn.tokens, drawn.labels.astype(np.float32)[:, None], drawn.lengths)


def _real_text(task: Task) -> tuple[Sequences, Sequences]:
    """The sentences that are trained on, and those that are held out. Raises UserError."""
    lines = read(option(task, "file", str), fetch.text(task.data.options))
    training, held = split(task, lines)
    index = {word: token for token, word in enumerate(vocabulary(task, training), UNKNOWN + 1)}

    def encode(line: Line) -> list[int]:
        return [index.get(word, UNKNOWN) for word in line.text.split(" ")]

    return sides(task, training, held, encode)


def read(file: str, text: str) -> list[Line]:
    """The labelled sentences of a file, their words with one space between. Raises UserError."""
    found = []
    for number, line in numbered(text):
        label, *words = line.split() or [""]
        if label not in ("0", "1"):
            raise UserError(
                f"{file}, line {number}: expected a label, 0 or 1, before the sentence, got {line[:40]!r}."
            )
        if not words:
            raise UserError(f"{file}, line {number}: expected a sentence after the label, got none.")
        found.append(Line(f"{file}, line {number}", " ".join(words), int(label)))
    return found


def vocabulary(task: Task, training: Sequence[Line]) -> list[str]:
    """The words that have a token of their own. Raises UserError where they are not those of the spec."""
    counts = Counter(word for line in training for word in line.text.split(" "))
    by_frequency = sorted(counts, key=lambda word: -counts[word])  # equals stay in their order
    words = by_frequency[: task.model.vocabulary - UNKNOWN - 1]
    expected = option(task, "vocabulary_sha256", str)
    got = hashlib.sha256("\n".join(words).encode()).hexdigest()
    if got != expected:
        raise bad(task, "vocabulary_sha256", expected, f"{got} of {len(words)} words of the training side")
    return words
