"""Date conversion: "January 15, 2023" to "2023-01-15", character by character.

A date is written in one of several forms, each with the month as a word and the year in full,
so that a text has one date. Dates are numbered by the proleptic Gregorian calendar
(``date.toordinal``); every so many is held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from results.errors import unknown
from suites import seeds
from suites.interface import Batch
from suites.seeds import Integers
from suites.spec import EOS, PAD, Task
from suites.tasks import Facts
from suites.tasks.options import bad, hold_out, option, words
from suites.tasks.padding import padded, teacher_forced

# not the locale's, which would make the text the machine's
MONTHS = ("January", "February", "March", "April", "May", "June", "July",
          "August", "September", "October", "November", "December")  # fmt: skip
FORMS: Mapping[str, Callable[[date], str]] = {
    "month first": lambda day: f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
    "day first": lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}",
    "year first": lambda day: f"{day.year} {MONTHS[day.month - 1]} {day.day}",
}


@dataclass(frozen=True)
class Source:
    """What the dates are drawn from, and how they are written."""

    training: Integers  # the dates' numbers
    held_out: Integers
    forms: list[str]
    tokens: Mapping[str, int]  # of the encoder: places in the alphabet, after PAD
    target_tokens: Mapping[str, int]  # of the decoder: after PAD, BOS and EOS


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T] and lengths, a date in words; targets [B, S] and theirs, YYYY-MM-DD and EOS.

    Raises UserError for a data source that is at odds with itself, and for a T or an S that is too short.
    """
    return _drawn(task, _source(task), seeds.generator(seed, "seq2seq", "data"))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The dates that training never sees, in any form; each comes once."""
    source, B = _source(task), task.batch
    rng = seeds.generator(seed, "seq2seq", "held-out")
    order = source.held_out[seeds.permutation(rng, len(source.held_out))]
    return (_batch(task, source, order[k : k + B], rng) for k in range(0, len(order) - B + 1, B))


def facts(task: Task) -> Facts:
    """A text has one date, so all can be right; one answer for all is right for one of those held out."""
    return Facts(optimum=1.0, baseline=1 / len(_source(task).held_out), unit="exact match")


def written(day: date, form: str) -> str:
    """The date in words."""
    return FORMS[form](day)


def _drawn(task: Task, source: Source, rng: np.random.Generator) -> Iterator[Batch]:
    while True:
        days = source.training[seeds.integers(rng, 0, len(source.training), (task.batch,))]
        yield _batch(task, source, days, rng)


def _batch(task: Task, source: Source, days: Integers, rng: np.random.Generator) -> Batch:
    """These days [B], each in a form that is drawn."""
    chosen = seeds.integers(rng, 0, len(source.forms), days.shape)
    where = f"data source {task.data.name!r}"
    texts, answers = [], []
    for number, form in zip(days.tolist(), chosen.tolist(), strict=True):
        day = date.fromordinal(number)
        texts.append([source.tokens[character] for character in written(day, source.forms[form])])
        answers.append([source.target_tokens[character] for character in day.isoformat()])
    inputs, lengths = padded(texts, task.length, where)
    decoder_inputs, targets, target_lengths = teacher_forced(answers, task.target_length, where)
    return Batch(inputs, targets, lengths, decoder_inputs, target_lengths)


@lru_cache(maxsize=4)
def _source(task: Task) -> Source:
    """The task's data source, read and held against its sizes. Raises UserError."""
    forms = words(task, "forms")
    for form in forms:
        if form not in FORMS:
            raise unknown("form", form, FORMS)
    days = np.arange(_day(task, "first"), _day(task, "last") + 1)
    training, held_out = hold_out(task, days)
    dates = [date.fromordinal(number) for number in days.tolist()]
    texts = [written(day, form) for day in dates for form in forms]
    answers = [day.isoformat() for day in dates]
    tokens = _tokens(task, "alphabet", PAD + 1, task.model.vocabulary, texts)
    target_tokens = _tokens(task, "target_alphabet", EOS + 1, task.model.outputs, answers)
    longest, S = max(texts, key=len), len(answers[0]) + 1
    if task.length < len(longest):
        raise bad(task, "--length", f"{len(longest)} or more, for {longest!r}", task.length)
    if task.target_length < S:
        raise bad(task, "target_length", f"{S} or more, for YYYY-MM-DD and EOS", task.target_length)
    return Source(training, held_out, forms, tokens, target_tokens)


def _day(task: Task, key: str) -> int:
    """The number of a day YYYY-MM-DD. Raises UserError."""
    text = option(task, key, str)
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise bad(task, key, "a date YYYY-MM-DD", repr(text)) from None


def _tokens(task: Task, key: str, first: int, size: int, texts: list[str]) -> dict[str, int]:
    """Each character of an alphabet with its token; all of them are ``size``. Raises UserError."""
    alphabet = option(task, key, str)
    if len(set(alphabet)) != len(alphabet) or first + len(alphabet) != size:
        raise bad(task, key, f"{size - first} characters, each once", repr(alphabet))
    strange = sorted(set("".join(texts)) - set(alphabet))
    if strange:
        raise bad(task, key, f"every character of a date, {strange[0]!r} too", repr(alphabet))
    return {character: token for token, character in enumerate(alphabet, first)}
