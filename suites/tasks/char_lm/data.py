"""A character language model's text: a Markov source by default, tiny Shakespeare as real text.

The text is cut into B streams that are read side by side, T characters at a
time, so that the state can go on from chunk to chunk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np

from results.errors import UserError
from suites import seeds
from suites.interface import Batch
from suites.seeds import Floats, Integers
from suites.spec import Task
from suites.tasks import Facts, fetch


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs, targets [B, T] int32: the targets are the inputs one character on.

    Real text comes round again; the Markov source goes on with a text that was never
    seen, so that its entropy rate can be reached.
    """
    for turn in count():
        yield from _chunks(task, tokens(task, seed, turn))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same of the held-out text, once."""
    return _chunks(task, held_out_tokens(task, seed))


def tokens(task: Task, seed: int, turn: int = 0) -> Any:
    """The text that is trained on, as int32 tokens [characters]; of the Markov source, that of a turn."""
    options = task.data.options
    if "url" not in options:
        return markov_text(*_markov_options(options), seed, f"text {turn}" if turn else "text")
    text, split = _real_text(task)
    return text[:split]


def held_out_tokens(task: Task, seed: int) -> Any:
    """The text that is held out: drawn apart, or what follows the training text."""
    options = task.data.options
    if "url" not in options:
        V, _, order, sharpness = _markov_options(options)
        return markov_text(V, options["held_out_characters"], order, sharpness, seed, "held-out text")
    text, split = _real_text(task)
    return text[split:]


def facts(task: Task) -> Facts:
    """The source's entropy rate and its unigram entropy, in nats per character.

    Real text has no known entropy rate: its optimum is NaN.
    """
    options = task.data.options
    if "url" in options:
        counts = np.bincount(tokens(task, 0))
        return Facts(optimum=float("nan"), baseline=_entropy(counts / counts.sum()), unit="nats")
    V, _, order, sharpness = _markov_options(options)
    P = transitions(V, order, sharpness)
    context = stationary(P)
    rate = float(sum(p * _entropy(row) for p, row in zip(context, P, strict=True)))
    return Facts(optimum=rate, baseline=_entropy(context @ P), unit="nats")


def transitions(V: int, order: int, sharpness: int) -> Floats:
    """P [V^order, V]: the next character given the last ``order``; each row sums to 1.

    Weights are powers of uniforms, by multiplication alone, so that every
    machine makes the same source to the last bit.
    """
    u = seeds.generator(0, "char_lm", "markov", "transitions").random((V**order, V))
    weights = np.ones_like(u)
    for _ in range(sharpness):
        weights = weights * u
    P: Floats = weights / weights.sum(axis=1, keepdims=True)
    return P


def stationary(P: Floats) -> Floats:
    """The long-run share [V^order] of each context: pi = pi A, sum(pi) = 1."""
    contexts, V = P.shape
    A = np.zeros((contexts, contexts))
    for s in range(contexts):
        after = (s * V) % contexts  # drop the oldest character, append the new one
        A[s, after : after + V] = P[s]
    system = np.vstack([A.T - np.eye(contexts), np.ones(contexts)])
    right = np.zeros(contexts + 1)
    right[-1] = 1
    pi: Floats = np.linalg.lstsq(system, right, rcond=None)[0]
    return pi


@lru_cache(maxsize=2)
def markov_text(V: int, characters: int, order: int, sharpness: int, seed: int, name: str) -> Any:
    """``characters`` tokens drawn from the source, int32; ``name`` names the draws."""
    P = transitions(V, order, sharpness)
    cumulative = [row.tolist() for row in np.cumsum(P, axis=1)]
    draws = seeds.generator(seed, "char_lm", "markov", name).random(characters).tolist()
    text, context, contexts = [], 0, V**order
    for u in draws:
        token = min(bisect_right(cumulative[context], u), V - 1)
        text.append(token)
        context = (context * V + token) % contexts
    return np.array(text, np.int32)


def encoded(text: str, alphabet: str, where: str) -> Any:
    """Each character as its place in the alphabet, int32. Raises UserError for one that has none."""
    index = {character: place for place, character in enumerate(alphabet)}
    strange = next((at for at, character in enumerate(text) if character not in index), None)
    if strange is not None:
        line, column = text.count("\n", 0, strange) + 1, strange - text.rfind("\n", 0, strange)
        raise UserError(
            f"{where}, line {line}, column {column}: expected one of the {len(alphabet)} characters of the "
            f"data source's alphabet, got {text[strange]!r}. Mend the text, or add the character to alphabet "
            f"and vocabulary."
        )
    return np.array([index[character] for character in text], np.int32)


def _real_text(task: Task) -> tuple[Any, int]:
    """All tokens of the data source's file, and how many of them are trained on. Raises UserError."""
    options = task.data.options
    source, alphabet, V = (
        f"data source {task.data.name!r}",
        options.get("alphabet", ""),
        task.model.vocabulary,
    )
    if len(alphabet) != V or len(set(alphabet)) != V:
        raise UserError(
            f"{source}: alphabet: expected {V} characters (vocabulary), each once, "
            f"got {len(alphabet)}, {len(set(alphabet))} of them different."
        )
    if "training_share" not in options:
        raise UserError(f"{source}: expected the key 'training_share', got none.")
    text = encoded(fetch.text(options), alphabet, str(options["file"]))
    return text, int(len(text) * options["training_share"])


def _chunks(task: Task, text: Any) -> Iterator[Batch]:
    """The text once: B streams side by side, T characters at a time."""
    B, T = task.batch, task.length
    stream = (len(text) - 1) // B
    if stream < T:
        raise UserError(
            f"data source {task.data.name!r}: expected more than {B * T} characters "
            f"for batch {B} and length {T}, got {len(text)}."
        )
    inputs = text[: B * stream].reshape(B, stream)
    targets = text[1 : B * stream + 1].reshape(B, stream)
    for k in range(stream // T):
        at = slice(k * T, (k + 1) * T)
        yield Batch(inputs[:, at].copy(), targets[:, at].copy())


def _markov_options(options: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return options["vocabulary"], options["characters"], options["order"], options["sharpness"]


def _entropy(p: Floats | Integers) -> float:
    """-sum p log p, in nats."""
    held = p[p > 0]
    return float(-(held * np.log(held)).sum())
