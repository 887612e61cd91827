"""Labelled sequences from files, one a line: checked, split, cut to T, put in batches.

What a task's real data has in common, whatever its tokens are. Its rules are keys of the data
source, so the spec's fingerprint holds them:

held_out_share  a sequence is held out where the SHA-256 of its text, as a fraction of 2^256, is
                below: the same text is never on both sides, whatever its place, label or file
longer          "first" or "last": of a sequence over T, the T tokens that are kept;
                without this key it is refused
tokens_sha256   of all tokens, lengths and labels, training before held-out: vocabulary,
                tokenisation and split are as they were when it was written
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from results.errors import UserError
from suites import seeds
from suites.interface import Array
from suites.spec import Task
from suites.tasks.options import bad, option
from suites.tasks.padding import padded


@dataclass(frozen=True)
class Line:
    """One sequence as a file holds it."""

    where: str  # file and line
    text: str  # what the split goes by
    label: int


@dataclass(frozen=True)
class Sequences:
    """One side of the split: N sequences, padded."""

    tokens: Array  # [N, T] int32
    lengths: Array  # [N] int32
    labels: Array  # [N] int32


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1; the last may end in \\n or not."""
    return enumerate(text.removesuffix("\n").split("\n"), 1)


def split(task: Task, lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """What is trained on, and what is held out: about ``held_out_share`` of all."""
    share = option(task, "held_out_share", float)
    drawn = [int.from_bytes(hashlib.sha256(line.text.encode()).digest(), "big") / 2**256 for line in lines]
    pairs = list(zip(lines, drawn, strict=True))
    return [line for line, u in pairs if u >= share], [line for line, u in pairs if u < share]


def sides(
    task: Task, training: list[Line], held: list[Line], encode: Callable[[Line], list[int]]
) -> tuple[Sequences, Sequences]:
    """Both sides of the split, each line by ``encode`` its tokens.

    Raises UserError where they are not those of the spec, for a sequence that is too long, and
    for a side that fills no batch.
    """
    lines, n = training + held, len(training)
    rows = [encode(line) for line in lines]
    _check(task, rows, lines)
    if min(n, len(held)) < task.batch:
        raise UserError(
            f"data source {task.data.name!r}: expected at least {task.batch} sequences (batch) in training "
            f"and held out, got {n} and {len(held)}."
        )
    return _arrays(task, rows[:n], training), _arrays(task, rows[n:], held)


def _check(task: Task, rows: list[list[int]], lines: list[Line]) -> None:
    """Raise UserError unless tokens, lengths and labels are those that the data source was written for."""
    parts = (
        [token for row in rows for token in row],
        [len(row) for row in rows],
        [line.label for line in lines],
    )
    got = seeds.digest(*(np.array(part, np.int32) for part in parts))
    expected = option(task, "tokens_sha256", str)
    if got != expected:
        raise bad(task, "tokens_sha256", expected, f"{got}: vocabulary, tokens or split are not the spec's")


def _arrays(task: Task, rows: list[list[int]], lines: list[Line]) -> Sequences:
    """The rows cut to T and padded. Raises UserError for a longer one where ``longer`` is not set."""
    T, longer = task.length, task.data.options.get("longer")
    if longer not in (None, "first", "last"):
        raise bad(task, "longer", "'first' or 'last'", repr(longer))
    for row, line in zip(rows, lines, strict=True):
        if longer is None and len(row) > T:
            raise UserError(
                f"{line.where}: expected at most T = {T} tokens, got {len(row)}. Choose a greater --length, "
                f"or set longer of the data source {task.data.name!r} to 'first' or 'last'."
            )
    cut = [row[-T:] if longer == "last" else row[:T] for row in rows]
    tokens, lengths = padded(cut, T, f"data source {task.data.name!r}")
    return Sequences(tokens, lengths, np.array([line.label for line in lines], np.int32))


def shuffled(task: Task, sequences: Sequences, seed: int) -> Iterator[Sequences]:
    """Batches of B without end: each turn in an order of its own, what fills no batch left out."""
    for turn in count():
        rng = seeds.generator(seed, task.name, "order", str(turn))
        yield from in_order(task, sequences, seeds.permutation(rng, len(sequences.labels)))


def in_order(task: Task, sequences: Sequences, order: Array | None = None) -> Iterator[Sequences]:
    """Batches of B, once; what fills no batch is left out."""
    B, N = task.batch, len(sequences.labels)
    order = np.arange(N) if order is None else order
    for k in range(N // B):
        at = order[k * B : (k + 1) * B]
        yield Sequences(sequences.tokens[at], sequences.lengths[at], sequences.labels[at])


def majority(labels: Array) -> float:
    """The share of the label that is seen most: the accuracy of always answering it."""
    return float(np.bincount(labels).max() / len(labels))
