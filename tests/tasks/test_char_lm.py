"""The character language model's text, its chunks, and what is known of its entropy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.interface import Batch
from suites.spec import Task
from suites.tasks import fetch
from suites.tasks.char_lm import data

SHARE = "training_share = 0.95"


def test_targets_are_the_inputs_one_on_and_chunks_follow() -> None:
    task = spec.load("char_lm")
    first, second = islice(tasks.batches(task, 0), 2)
    assert first.inputs.dtype == first.targets.dtype == np.int32
    assert (first.inputs[:, 1:] == first.targets[:, :-1]).all()
    assert (second.inputs[:, 0] == first.targets[:, -1]).all()


def after_one_turn(task: Task, characters: int) -> tuple[Batch, Batch]:
    """The first batch, and the first of the next turn."""
    chunks = (characters - 1) // task.batch // task.length
    stream = islice(tasks.batches(task, 0), chunks + 1)
    first = next(stream)
    *_, again = stream
    return first, again


def test_a_generated_text_never_comes_again() -> None:
    task = spec.load("char_lm", size="paper")
    first, again = after_one_turn(task, task.data.options["characters"])
    assert (first.inputs != again.inputs).any()
    assert (data.tokens(task, 0, turn=1) != data.tokens(task, 0)).any()
    assert (data.tokens(task, 0, turn=1) == data.tokens(task, 0, turn=1)).all()


def test_held_out_text_is_drawn_apart() -> None:
    task = spec.load("char_lm", size="small")
    held_out = list(tasks.held_out(task, 0))
    assert len(held_out) == task.schedule.batches
    text = data.held_out_tokens(task, 0)
    assert len(text) == task.data.options["held_out_characters"]
    assert (text[:5000] != data.tokens(task, 0)[:5000]).any()
    for one, other in pairwise(held_out):  # each batch goes on where the one before ended
        assert (one.targets[:, -1] == other.inputs[:, 0]).all()


def test_transitions_are_a_law_of_probability() -> None:
    P = data.transitions(13, 2, 8)
    assert P.shape == (169, 13)
    assert (P > 0).all()
    assert abs(P.sum(axis=1) - 1).max() < 1e-12


def test_the_stationary_law_stands_still() -> None:
    P = data.transitions(13, 2, 8)
    pi = data.stationary(P)
    after = np.zeros_like(pi)
    for s, share in enumerate(pi):
        for token, p in enumerate(P[s]):
            after[(s * 13 + token) % 169] += share * p
    assert abs(after - pi).max() < 1e-12
    assert abs(pi.sum() - 1) < 1e-12


def test_the_entropy_rate_of_a_known_source() -> None:
    """A two-state chain by hand: pi = (5/6, 1/6), rate = 5/6 H(.1) + 1/6 H(.5)."""
    P = np.array([[0.9, 0.1], [0.5, 0.5]])
    pi = data.stationary(P)
    assert abs(pi - [5 / 6, 1 / 6]).max() < 1e-12
    h = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.1, 0.5)]
    rate = sum(share * data._entropy(row) for share, row in zip(pi, P, strict=True))
    assert abs(rate - (5 * h[0] + h[1]) / 6) < 1e-12


def test_the_text_follows_its_source() -> None:
    """The text's own cross-entropy under the source is the entropy rate, within sampling error."""
    task = spec.load("char_lm")
    text = data.tokens(task, 0).tolist()
    P = data.transitions(13, 2, 8)
    losses = [-np.log(P[a * 13 + b, c]) for a, b, c in zip(text, text[1:], text[2:], strict=False)]
    facts = tasks.facts(task)
    # 200 000 draws with a standard deviation of about 1.1: four standard errors are 0.01
    assert abs(np.mean(losses) - facts.optimum) < 0.01
    counts = np.array(list(Counter(text).values())) / len(text)
    assert abs(-(counts * np.log(counts)).sum() - facts.baseline) < 0.01
    assert facts.optimum < facts.baseline < np.log(13)


def test_a_text_too_short_is_refused() -> None:
    task = spec.load("char_lm", size="small", length=65536)
    with pytest.raises(UserError, match="expected more than 2097152 characters"):
        next(tasks.batches(task, 0))


LETTERS = "abcdefgh"


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """A task on a text of 400 letters in a file of the user's."""
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))

    def load(content: bytes = LETTERS.encode() * 50, alphabet: str = LETTERS, keys: str = SHARE) -> Task:
        (tmp_path / "own.txt").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        source = f'[data.own]\nvocabulary = 8\nalphabet = "{alphabet}"\n{keys}\nfile = "own.txt"\n'
        source += f'url = "https://example.org/own.txt"\nsha256 = "{sha256}"\n'
        path = tmp_path / "task.toml"
        path.write_text((spec.TASKS / "char_lm" / "task.toml").read_text("utf-8") + source, "utf-8")
        return spec.load(str(path), data="own")

    return load


def test_real_text_is_read_to_its_share_and_comes_round_again(real: Callable[..., Task]) -> None:
    task = real()
    text = "".join(LETTERS[token] for token in data.tokens(task, 0))
    held_out = "".join(LETTERS[token] for token in data.held_out_tokens(task, 0))
    assert text + held_out == LETTERS * 50
    assert len(text) == 380  # 95 % of 400, by position
    first, again = after_one_turn(task, 380)
    assert (first.inputs == again.inputs).all()
    assert len(list(tasks.held_out(task, 0))) == (20 - 1) // 3 // 5  # all that there is


def test_a_held_out_text_too_short_is_refused(real: Callable[..., Task]) -> None:
    task = real(keys="training_share = 0.99")
    with pytest.raises(UserError, match=r"'own': expected more than 15 characters .*, got 4"):
        next(tasks.held_out(task, 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"own.txt, line 1: expected text, got an empty file"),
        (b"abc\nfgh\nde\xe9", r"own.txt, line 3: expected text in UTF-8, got the byte 0xe9 at offset 10"),
        (
            b"abcdefgh" * 9 + b"\nabc",
            r"own.txt, line 1, column 73: expected one of the 8 characters .*got '\\n'",
        ),
    ],
)
def test_a_bad_file_is_named_with_line_and_rule(
    real: Callable[..., Task], content: bytes, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        next(tasks.batches(real(content), 0))


def test_a_character_outside_the_alphabet_is_placed() -> None:
    with pytest.raises(UserError, match=r"a.txt, line 3, column 2: .*the 3 characters .*got 'é'"):
        data.encoded("ab\n\naéb", "ab\n", "a.txt")
    assert data.encoded("b\na", "ab\n", "a.txt").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"alphabet": "abcdefgg"}, "alphabet: expected 8 characters .*, got 8, 7 of them different"),
        ({"alphabet": "abcdefg"}, "alphabet: expected 8 characters .*, got 7"),
        ({"keys": ""}, "expected the key 'training_share', got none"),
    ],
)
def test_a_bad_source_is_named(real: Callable[..., Task], given: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=f"'own': {words}"):
        next(tasks.batches(real(**given), 0))


def test_lines_end_the_same_on_every_system(real: Callable[..., Task]) -> None:
    task = real(b"abc\r\ndef\rg" * 9, "abcdefg\\n")
    text = "".join("abcdefg\n"[token] for token in data.tokens(task, 0))
    assert text.startswith("abc\ndef\ngabc")


def test_sizes_of_one_and_two_layers_among_them_those_of_the_sources() -> None:
    layers = {size: spec.load("char_lm", size=size).model.layers for size in ("tiny", "small", "paper")}
    assert layers == {"tiny": 2, "small": 1, "paper": 1}
    char_rnn, d2l = (spec.load("char_lm", size=size) for size in ("char_rnn", "d2l"))
    assert (char_rnn.model.layers, char_rnn.model.hidden, char_rnn.batch, char_rnn.length) == (2, 128, 50, 50)
    assert (d2l.model.layers, d2l.model.hidden, d2l.batch, d2l.length) == (1, 32, 1024, 32)
    for task in (char_rnn, d2l):
        assert next(tasks.batches(task, 0)).inputs.shape == (task.batch, task.length)
        assert len(list(tasks.held_out(task, 0))) >= 1
        assert task.model.generates
