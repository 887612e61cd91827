"""Dates in words and in figures: read back by other means, split, refused where they do not fit."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from datetime import date, timedelta
from itertools import islice

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.interface import Array
from suites.spec import Task
from suites.tasks.seq2seq import data

ALPHABET = " ,0123456789ADFJMNOSabceghilmnoprstuvy"
MONTHS = ["January", "February", "March", "April", "May", "June", "July",
          "August", "September", "October", "November", "December"]  # fmt: skip
FORMS = {
    "month first": re.compile(r"(?P<month>[A-Z][a-z]+) (?P<day>[1-9]\d?), (?P<year>\d{4})"),
    "day first": re.compile(r"(?P<day>[1-9]\d?) (?P<month>[A-Z][a-z]+) (?P<year>\d{4})"),
    "year first": re.compile(r"(?P<year>\d{4}) (?P<month>[A-Z][a-z]+) (?P<day>[1-9]\d?)"),
}


def changed(task: Task, **options: object) -> Task:
    """The task with other options in its data source."""
    found = dataclasses.replace(task.data, options=dict(task.data.options) | options)
    return dataclasses.replace(task, data=found)


def source_text(tokens: Array, length: int) -> str:
    """Tokens as characters, places in the alphabet counted from 1."""
    assert (tokens[length:] == 0).all()
    return "".join(ALPHABET[token - 1] for token in tokens[:length])


def answer_text(tokens: Array) -> str:
    """The characters before EOS."""
    assert tokens[10] == 2
    return "".join("-0123456789"[token - 3] for token in tokens[:10])


def read(text: str) -> tuple[str, str]:
    """The form of a date in words, and the date YYYY-MM-DD."""
    for form, pattern in FORMS.items():
        if found := pattern.fullmatch(text):
            return form, f"{found['year']}-{MONTHS.index(found['month']) + 1:02d}-{int(found['day']):02d}"
    raise AssertionError(text)


def test_every_text_is_read_back_as_its_answer() -> None:
    task = spec.load("seq2seq", size="small")
    forms: Counter[str] = Counter()
    for batch in [*islice(tasks.batches(task, 0), 40), *islice(tasks.held_out(task, 0), 10)]:
        assert batch.lengths is not None
        for inputs, n, targets in zip(batch.inputs, batch.lengths.tolist(), batch.targets, strict=True):
            form, answer = read(source_text(inputs, n))
            assert answer == answer_text(targets)
            forms[form] += 1
        assert (batch.target_lengths == 11).all()  # ten characters and EOS
    # 3200 draws of three forms: the standard error of a share is 0.0083
    assert all(abs(forms[form] / 3200 - 1 / 3) < 0.04 for form in FORMS)


def test_a_text_has_one_date() -> None:
    dates: dict[str, date] = {}
    day = date(1950, 1, 1)
    while day <= date(2049, 12, 31):
        for form in data.FORMS:
            assert dates.setdefault(data.written(day, form), day) == day
        day += timedelta(days=1)
    assert len(dates) == 36_525 * 3
    assert {character for text in dates for character in text} == set(ALPHABET)
    assert max(map(len, dates)) == 18
    assert spec.load("seq2seq").data.options["alphabet"] == ALPHABET


def all_held_out(task: Task) -> list[str]:
    """Every answer that is held out."""
    many = dataclasses.replace(task, batch=1, schedule=dataclasses.replace(task.schedule, batches=10**6))
    return [answer_text(batch.targets[0]) for batch in tasks.held_out(many, 0)]


def test_the_split_is_by_the_number_of_the_day() -> None:
    task = spec.load("seq2seq", size="small")
    first = date(1, 1, 1)
    held_out = [date.fromisoformat(text) for text in all_held_out(task)]
    assert len(set(held_out)) == len(held_out)
    assert all(((day - first).days + 1) % 10 == 0 for day in held_out)
    assert (min(held_out), max(held_out)) == (date(1950, 1, 3), date(2049, 12, 29))
    trained = {answer_text(row) for batch in islice(tasks.batches(task, 0), 300) for row in batch.targets}
    assert not trained & {day.isoformat() for day in held_out}
    assert {text[:4] for text in trained} == {str(year) for year in range(1950, 2050)}
    assert len({text[5:] for text in trained}) == 366


def test_the_best_constant_answer_by_counting() -> None:
    task = spec.load("seq2seq")
    held_out = all_held_out(task)
    known = tasks.facts(task)
    assert known.baseline == max(Counter(held_out).values()) / len(held_out)
    assert (known.optimum, known.unit) == (1, "exact match")


def test_held_out_batches_are_whole_and_the_same_again() -> None:
    task = spec.load("seq2seq", size="small")
    first, again, other = (list(tasks.held_out(task, seed)) for seed in (0, 0, 1))
    assert len(first) == task.schedule.batches
    assert all((a.inputs == b.inputs).all() for a, b in zip(first, again, strict=True))
    assert (first[0].inputs != other[0].inputs).any()


def test_a_short_t_or_s_is_refused_and_a_long_one_padded() -> None:
    for length in (10, 17):
        with pytest.raises(UserError, match=rf"--length: expected 18 or more, for 'Sep.* got {length}"):
            next(tasks.batches(spec.load("seq2seq", length=length), 0))
    task = spec.load("seq2seq", length=25)
    with pytest.raises(UserError, match="target_length: expected 11 or more, for YYYY-MM-DD and EOS, got 10"):
        next(tasks.batches(dataclasses.replace(task, target_length=10), 0))
    batch = next(tasks.batches(dataclasses.replace(task, target_length=13), 0))
    assert batch.inputs.shape == (3, 25)
    assert batch.decoder_inputs is not None
    assert (batch.targets[:, 11:] == 0).all()
    assert (batch.decoder_inputs[:, 11:] == 0).all()
    assert (batch.target_lengths == 11).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forms": ["day first", "mnth first"]}, "unknown form 'mnth first'. Did you mean 'month first'"),
        ({"forms": []}, "forms: expected one that is not empty"),
        ({"forms": [3]}, "forms: expected a list of texts, got 3"),
        ({"first": "1950-02-30"}, "first: expected a date YYYY-MM-DD, got '1950-02-30'"),
        ({"last": "soon"}, "last: expected a date YYYY-MM-DD, got 'soon'"),
        ({"last": "1949-01-01"}, r"held_out_every: expected 3 items \(batch\) .* got \(0, 0\)"),
        ({"held_out_every": 1}, r"held_out_every: expected 3 items .* got \(0, 36525\)"),
        ({"held_out_every": 0}, "held_out_every: expected at least 1, got 0"),
        ({"alphabet": ALPHABET[:-1]}, "alphabet: expected 38 characters, each once"),
        ({"alphabet": ALPHABET[:-1] + "a"}, "alphabet: expected 38 characters, each once"),
        ({"alphabet": ALPHABET[:-1] + "z"}, "alphabet: expected every character of a date, 'y' too"),
        ({"target_alphabet": "/0123456789"}, "target_alphabet: expected every character of a date, '-' too"),
    ],
)
def test_a_source_at_odds_with_itself_is_named(options: dict[str, object], words: str) -> None:
    task = changed(spec.load("seq2seq"), **options)
    for ask in (lambda: next(tasks.batches(task, 0)), lambda: list(tasks.held_out(task, 0))):
        with pytest.raises(UserError, match=words):
            ask()


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_all_are_int32(size: str) -> None:
    batch = next(tasks.batches(spec.load("seq2seq", size=size), 0))
    arrays = (batch.inputs, batch.targets, batch.lengths, batch.decoder_inputs, batch.target_lengths)
    assert all(array is not None and array.dtype == np.int32 for array in arrays)
