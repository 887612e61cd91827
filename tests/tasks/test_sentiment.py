"""The grammar with negation and what is known of it; labelled sentences from a file."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.spec import PAD, Task
from suites.tasks import fetch, sequences
from suites.tasks.sentiment import data
from suites.tasks.sequences import Line, Sequences

EXACT = 1e-12  # what sums of a few thousand products may lose


def changed(task: Task, **keys: object) -> Task:
    """The task with other options in its data source."""
    options = dict(task.data.options) | keys
    return dataclasses.replace(task, data=dataclasses.replace(task.data, options=options))


def kinds(grammar: data.Grammar, tokens: list[int]) -> str:
    """A sentence as a string: + and - for sentiment words, n for negators, . for fillers."""
    names = {"+": grammar.positive, "-": grammar.negative, "n": grammar.negators, ".": grammar.fillers}
    return "".join(next(name for name, held in names.items() if token in held) for token in tokens)


def opinions(sentence: str) -> list[int]:
    """What each sentiment word says, once the negators before it have turned it round."""
    found, sign = [], 1
    for word in sentence:
        if word == "n":
            sign = -sign
        elif word in "+-":
            found.append(sign if word == "+" else -sign)
            sign = 1
    return found


def joint(grammar: data.Grammar, sentence: str) -> tuple[float, float]:
    """P(sentence, y = 0) and P(sentence, y = 1) for its length, straight from the rules."""
    said = opinions(sentence)
    filler = 1 - grammar.sentiment - grammar.negation
    p = grammar.negation ** sentence.count("n") * filler ** sentence.count(".")
    agree = grammar.sentiment * grammar.agreement
    contrary = grammar.sentiment * (1 - grammar.agreement)
    ups, downs = said.count(1), said.count(-1)
    return (
        (1 - grammar.share) * p * agree**downs * contrary**ups,
        grammar.share * p * agree**ups * contrary**downs,
    )


def best(grammar: data.Grammar, T: int, seen: Callable[[str], object]) -> float:
    """The best accuracy of who sees only ``seen`` of a sentence: every sentence up to T, summed."""
    total = 0.0
    for n in range(1, T + 1):
        known: dict[object, np.ndarray] = defaultdict(lambda: np.zeros(2))
        for words in product("+-n.", repeat=n):
            sentence = "".join(words)
            known[seen(sentence)] += joint(grammar, sentence)
        assert abs(sum(p.sum() for p in known.values()) - 1) < EXACT
        total += sum(p.max() for p in known.values())
    return total / T


def test_opinions_by_hand() -> None:
    assert opinions("+.-") == [1, -1]
    assert opinions("n+") == opinions("n.+") == [-1]
    assert opinions("nn+") == opinions("n.n+") == [1]
    assert opinions("n-+") == [1, 1]  # a negator is used up by the first sentiment word
    assert opinions("+n") == [1]


@pytest.mark.parametrize("share", [0.55, 0.2, 0.97])
def test_the_best_accuracy_is_that_of_every_sentence_summed(share: float) -> None:
    task = changed(spec.load("sentiment"), positive_share=share)
    grammar = data.grammar_of(task)
    facts = tasks.facts(task)
    assert abs(facts.optimum - best(grammar, task.length, lambda sentence: sentence)) < EXACT
    assert abs(facts.baseline - best(grammar, task.length, lambda sentence: None)) < EXACT
    assert (facts.unit, facts.baseline) == ("accuracy", max(share, 1 - share))


def test_a_bag_of_words_loses() -> None:
    """Who counts the words and does not see their order is some ten points or more behind."""
    task = spec.load("sentiment")
    grammar = data.grammar_of(task)
    bag = best(grammar, task.length, lambda sentence: "".join(sorted(sentence)))
    facts = tasks.facts(task)
    assert facts.baseline + 0.1 < bag < facts.optimum - 0.1


def test_a_grammar_without_negators_needs_no_order() -> None:
    """The check above can fail: without negators, counting words is as good as reading."""
    task = changed(spec.load("sentiment"), negation=0.0)
    grammar = data.grammar_of(task)
    bag = best(grammar, task.length, lambda sentence: "".join(sorted(sentence)))
    assert abs(bag - tasks.facts(task).optimum) < EXACT


def test_sentences_are_padded_and_drawn_by_the_rules() -> None:
    task = spec.load("sentiment", size="small")
    grammar = data.grammar_of(task)
    counts: dict[str, int] = defaultdict(int)
    agreed = []
    for batch in islice(tasks.batches(task, 0), 100):
        assert batch.lengths is not None
        assert batch.inputs.shape == (task.batch, task.length)
        assert batch.targets.shape == (task.batch, 1)
        assert (batch.inputs.dtype, batch.lengths.dtype, batch.targets.dtype) == ("int32", "int32", "float32")
        valid = np.arange(task.length) < batch.lengths[:, None]
        assert ((batch.inputs == PAD) == ~valid).all()
        for tokens, n, y in zip(batch.inputs, batch.lengths, batch.targets[:, 0], strict=True):
            sentence = kinds(grammar, tokens[:n].tolist())
            agreed += [said == (1 if y else -1) for said in opinions(sentence)]
            counts["sentences"] += 1
            counts["for"] += y == 1
            counts["words"] += n
            counts["sentiment words"] += sum(word in "+-" for word in sentence)
            counts["negators"] += sentence.count("n")
            counts[f"length {n}"] += 1
    # four standard errors of the shares of some 6,400 sentences and 16,000 words or more
    assert abs(np.mean(agreed) - grammar.agreement) < 0.007
    assert abs(counts["for"] / counts["sentences"] - grammar.share) < 0.025
    assert abs(counts["sentiment words"] / counts["words"] - grammar.sentiment) < 0.01
    assert abs(counts["negators"] / counts["words"] - grammar.negation) < 0.01
    assert all(counts[f"length {n}"] > 0 for n in range(1, task.length + 1))


def test_every_word_comes_sooner_or_later() -> None:
    task = spec.load("sentiment", size="small")
    seen = {token for batch in islice(tasks.batches(task, 0), 100) for token in batch.inputs.ravel().tolist()}
    assert seen == set(range(task.model.vocabulary))


def test_the_best_reader_reaches_the_best_accuracy() -> None:
    """Who knows the rules is right as often as the formula says, within sampling error."""
    task = spec.load("sentiment", size="small")
    grammar = data.grammar_of(task)
    right = []
    for batch in tasks.held_out(task, 0):
        assert batch.lengths is not None
        for tokens, n, y in zip(batch.inputs, batch.lengths, batch.targets[:, 0], strict=True):
            p_0, p_1 = joint(grammar, kinds(grammar, tokens[:n].tolist()))
            right.append((p_1 > p_0) == y)
    assert len(right) == task.schedule.batches * task.batch
    # 16,384 sentences: the standard error is 0.0021
    assert abs(np.mean(right) - tasks.facts(task).optimum) < 0.0085


def test_seeds_are_apart_repeatable_and_apart_from_what_is_held_out() -> None:
    task = spec.load("sentiment")
    first, again, other = (next(tasks.batches(task, seed)) for seed in (0, 0, 1))
    held = next(tasks.held_out(task, 0))
    assert (first.inputs == again.inputs).all()
    assert (first.targets == again.targets).all()
    assert (first.inputs != other.inputs).any()
    assert (first.inputs != held.inputs).any()
    assert first.masks is not None  # dropout is for training only
    assert held.masks is None


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("positive", 28, "vocabulary: expected more than 41"),
        ("negation", 0.7, r"sentiment: expected with negation 1 at most, got 1.1"),
        ("agreement", None, "agreement: expected a value of type float, got None"),
    ],
)
def test_a_grammar_that_is_none_is_refused(key: str, value: object, words: str) -> None:
    task = changed(spec.load("sentiment"), **{key: value})
    with pytest.raises(UserError, match=f"'grammar': {words}"):
        next(tasks.batches(task, 0))


# sentences from a file

WORDS = ["good", "bad", "fine", "dull", "neat", "grim"]
REVIEWS = [
    f"{i % 2} {' '.join(WORDS[(i * k) % 6] for k in range(1, 2 + i % 5))} n{i % 31}" for i in range(200)
]


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """A task on labelled sentences in a file of the user's; hashes are written as they are found."""
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))

    def load(content: bytes | list[str] = REVIEWS, *, hashed: bool = True, **keys: object) -> Task:
        content = content if isinstance(content, bytes) else "\n".join(content).encode()
        (tmp_path / "own.txt").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        options = {"vocabulary": 12, "held_out_share": 0.2, "longer": "first", "encoding": "utf-8"}
        options |= {"vocabulary_sha256": "none", "tokens_sha256": "none"} | keys
        options |= {"file": "own.txt", "url": "https://example.org/own.txt", "sha256": sha256}
        written = [f"{key} = {value!r}" for key, value in options.items() if value is not None]
        path = tmp_path / "task.toml"
        original = (spec.TASKS / "sentiment" / "task.toml").read_text("utf-8")
        path.write_text("\n".join([original, "[data.own]", *written]), "utf-8")
        task = spec.load(str(path), data="own")
        for key in ("vocabulary_sha256", "tokens_sha256") if hashed else ():
            with pytest.raises(UserError, match=f"{key}: expected none, got") as caught:
                next(tasks.batches(task, 0))
            task = changed(task, **{key: re.findall(r"[0-9a-f]{64}", str(caught.value))[0]})
        return task

    return load


def split(task: Task) -> tuple[list[Line], list[Line]]:
    """The lines of the task's file, by side."""
    return sequences.split(task, data.read("own.txt", fetch.text(task.data.options)))


def in_words(task: Task, side: Sequences) -> list[str]:
    """The tokens of one side, in words again."""
    words = ["<pad>", "<unknown>", *data.vocabulary(task, split(task)[0])]
    return [
        f"{y} {' '.join(words[token] for token in tokens[:n])}"
        for tokens, n, y in zip(side.tokens, side.lengths, side.labels, strict=True)
    ]


def as_seen(review: str, vocabulary: list[str], T: int) -> str:
    """The review as the task should see it."""
    label, *words = review.split()
    return " ".join([label, *(word if word in vocabulary else "<unknown>" for word in words[:T])])


def test_sentences_are_split_cut_and_padded(real: Callable[..., Task]) -> None:
    task = dataclasses.replace(real(), length=4)
    training, held = data._real_text(task)
    vocabulary = data.vocabulary(task, split(task)[0])
    expected = sorted(as_seen(review, vocabulary, 4) for review in REVIEWS)
    assert sorted(in_words(task, training) + in_words(task, held)) == expected
    assert "<unknown>" in " ".join(expected)
    assert 20 <= len(held.labels) <= 60  # 40 of 200, give or take 3.5 standard deviations
    for side in (training, held):
        assert ((side.tokens == PAD) == (np.arange(4) >= side.lengths[:, None])).all()


def test_a_turn_sees_every_training_sentence_once_in_a_new_order(real: Callable[..., Task]) -> None:
    task = real()
    training, _ = data._real_text(task)
    turn = len(training.labels) // task.batch
    stream = list(islice(tasks.batches(task, 0), 2 * turn))
    first, second = (np.concatenate([b.inputs for b in part]) for part in (stream[:turn], stream[turn:]))
    assert (first != second).any()
    everything = sorted(map(tuple, training.tokens.tolist()))
    for part in (first, second):
        left = list(everything)
        for row in map(tuple, part.tolist()):
            left.remove(row)  # a ValueError where it is there too often
        assert len(left) == len(everything) - turn * task.batch < task.batch
    assert stream[0].targets.dtype == np.float32
    assert (next(tasks.batches(task, 1)).inputs != stream[0].inputs).any()


def test_held_out_sentences_come_once_and_in_order(real: Callable[..., Task]) -> None:
    task = real(REVIEWS * 2)  # the same sentence twice stays on one side
    _, held = data._real_text(task)
    seen = list(data.held_out(task, 0))
    assert len(seen) == len(held.labels) // task.batch
    assert (np.concatenate([batch.inputs for batch in seen]) == held.tokens[: len(seen) * task.batch]).all()
    sides = [{line.text for line in side} for side in split(task)]
    assert sides[0] | sides[1] == {review[2:] for review in REVIEWS}
    assert not sides[0] & sides[1]
    facts = tasks.facts(task)
    assert np.isnan(facts.optimum)
    assert facts.baseline == max(held.labels.mean(), 1 - held.labels.mean())


def test_the_vocabulary_is_the_most_frequent_words_of_the_training_side(real: Callable[..., Task]) -> None:
    task = real()
    training, _ = split(task)
    counts: dict[str, int] = defaultdict(int)
    for line in training:
        for word in line.text.split():
            counts[word] += 1
    first = list(counts)
    expected = sorted(counts, key=lambda word: (-counts[word], first.index(word)))[:10]
    assert data.vocabulary(task, training) == expected
    assert len({counts[word] for word in expected}) < len(expected)  # some are equally frequent


def test_an_own_encoding_is_read(real: Callable[..., Task]) -> None:
    content = "\n".join(REVIEWS).replace("neat", "touché…").encode("cp1252")
    task = real(content, encoding="cp1252")
    assert "touché…" in data.vocabulary(task, split(task)[0])
    with pytest.raises(UserError, match=r"own.txt, line \d+: expected text in UTF-8, got the byte 0xe9"):
        next(tasks.batches(real(content, hashed=False), 0))
    with pytest.raises(UserError, match=r"own.txt: expected an encoding that Python knows, got 'cp12'"):
        next(tasks.batches(real(content, hashed=False, encoding="cp12"), 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: expected text, got an empty file"),
        (b"1 good\n2 bad\n", "line 2: expected a label, 0 or 1, before the sentence, got '2 bad'"),
        (b"1 good\ngood\n", "line 2: expected a label, 0 or 1, before the sentence, got 'good'"),
        (b"1 good\n\n1 bad\n", "line 2: expected a label, 0 or 1, before the sentence, got ''"),
        (b"1 good\n0\n", "line 2: expected a sentence after the label, got none"),
        (b"1 good\n0 b\xe4d\n", "line 2: expected text in UTF-8, got the byte 0xe4 at offset 10"),
    ],
)
def test_a_bad_file_is_named_with_line_and_rule(
    real: Callable[..., Task], content: bytes, words: str
) -> None:
    with pytest.raises(UserError, match=f"own.txt, {words}"):
        next(tasks.batches(real(content, hashed=False), 0))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"longer": "middle"}, "longer: expected 'first' or 'last', got 'middle'"),
        ({"held_out_share": None}, "held_out_share: expected a value of type float, got None"),
        ({"vocabulary_sha256": "0"}, r"vocabulary_sha256: expected 0, got [0-9a-f]{64} of 10 words"),
        ({"tokens_sha256": "0"}, r"tokens_sha256: expected 0, got [0-9a-f]{64}: vocabulary, tokens or split"),
    ],
)
def test_a_bad_source_is_named(real: Callable[..., Task], keys: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=f"'own': {words}"):
        next(tasks.batches(changed(real(), **keys), 0))


def test_the_hashes_hold_the_split_and_the_cut_is_free(real: Callable[..., Task]) -> None:
    task = real()
    next(tasks.batches(dataclasses.replace(task, length=3), 0))
    with pytest.raises(UserError, match="'own': vocabulary_sha256"):
        next(tasks.batches(changed(task, held_out_share=0.5), 0))


def test_sides_that_fill_no_batch_are_refused(real: Callable[..., Task]) -> None:
    few = real(held_out_share=0.01)
    words = r"'own': expected at least 5 sequences \(batch\) in training and held out, got 19\d and \d\."
    for asked in (tasks.batches, tasks.held_out):
        with pytest.raises(UserError, match=words):
            next(asked(few, 0))
    with pytest.raises(UserError, match=words):
        tasks.facts(few)
    with pytest.raises(UserError, match=r"'own': expected at least 500 sequences"):
        next(tasks.batches(dataclasses.replace(real(), batch=500), 0))
