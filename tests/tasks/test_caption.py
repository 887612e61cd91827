"""Scenes, their features and their sentences, made again by other means."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from itertools import islice, product

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.interface import Array
from suites.spec import EOS, Task
from suites.tasks.caption import data

SHAPE = "circle|square|triangle"
GRAMMAR = re.compile(
    rf"(a|two|three|four)( small| large)?( red| green| blue)? ({SHAPE})(s?)"
    rf"(?: (above|below|beside) a ({SHAPE}))?"
)
WORDS = [
    "a", "above", "below", "beside", "blue", "circle", "circles", "four", "green", "large", "red", "small",
    "square", "squares", "three", "triangle", "triangles", "two",
]  # fmt: skip


def changed(task: Task, **options: object) -> Task:
    """The task with other options in its data source."""
    found = dataclasses.replace(task.data, options=dict(task.data.options) | options)
    return dataclasses.replace(task, data=found)


def text(tokens: Array, length: int) -> str:
    """The words before EOS."""
    assert tokens[length - 1] == EOS
    assert (tokens[length:] == 0).all()
    return " ".join(WORDS[token - 3] for token in tokens[: length - 1])


def pairs(task: Task, held_out: bool) -> list[tuple[bytes, str]]:
    """Features and sentence of each scene that comes, many of training or all held out."""
    schedule = dataclasses.replace(task.schedule, batches=10**6)
    one = dataclasses.replace(task, batch=1, schedule=schedule)
    batches = tasks.held_out(one, 0) if held_out else islice(tasks.batches(one, 0), 12_000)
    return [(b.inputs[0].tobytes(), text(b.targets[0], int(b.target_lengths[0]))) for b in batches]  # type: ignore[index]


@pytest.fixture(scope="module")
def trained() -> list[tuple[bytes, str]]:
    return pairs(spec.load("caption"), held_out=False)


@pytest.fixture(scope="module")
def held_out() -> list[tuple[bytes, str]]:
    return pairs(spec.load("caption"), held_out=True)


def sentences() -> list[str]:
    """All there are, by the rules of the task file, in its order."""
    found = []
    seconds = [""] + [f" {r} a {s}" for r, s in product(("above", "below", "beside"), SHAPE.split("|"))]
    for count, size, colour, shape, second in product(
        ("a", "two", "three", "four"), ("", " small", " large"), ("", " red", " green", " blue"),
        SHAPE.split("|"), seconds,
    ):  # fmt: skip
        found.append(f"{count}{size}{colour} {shape}{'s' * (count != 'a')}{second}")
    return found


def test_every_scene_has_a_sentence_of_its_own(trained: list, held_out: list) -> None:
    expected = sentences()
    assert len(set(expected)) == len(expected) == 1440
    assert {sentence for _, sentence in held_out} == set(expected[::11])
    assert {sentence for _, sentence in trained} == set(expected) - set(expected[::11])
    assert len(held_out) == 131  # each once


def test_the_grammar_reads_them(trained: list) -> None:
    for _, sentence in trained:
        found = GRAMMAR.fullmatch(sentence)
        assert found, sentence
        assert (found[1] == "a") == (found[5] == "")


def test_features_and_sentences_belong_together(trained: list, held_out: list) -> None:
    features: dict[str, bytes] = {}
    for vector, sentence in [*trained, *held_out]:
        assert features.setdefault(sentence, vector) == vector
    assert len(set(features.values())) == 1440
    other = tasks.batches(
        dataclasses.replace(spec.load("caption"), batch=64), 7
    )  # another seed, the same scenes
    batch = next(other)
    for vector, tokens, n in zip(batch.inputs, batch.targets, batch.target_lengths, strict=True):  # type: ignore[arg-type]
        assert features[text(tokens, int(n))] == vector.tobytes()


def test_every_attribute_can_be_read_off_the_features_of_scenes_never_seen() -> None:
    """A linear map, found on the training scenes, gives each attribute of the scenes held out."""
    every = data.scenes(spec.load("caption"))
    values = sorted({(place, value) for scene in every for place, value in enumerate(scene)})
    told = np.array([[scene[place] == value for place, value in values] for scene in every], float)
    x = np.array([[*data.features(scene, 16), 1.0] for scene in every])
    out = np.arange(len(every)) % 11 == 0
    W = np.linalg.lstsq(x[~out], told[~out], rcond=None)[0]
    assert np.abs(x[out] @ W - told[out]).max() < 1e-9


def test_features_are_sums_of_codes() -> None:
    def at(**scene: str) -> Array:
        whole = {"count": "a", "size": "", "colour": "red", "shape": "circle", "relation": "", "other": ""}
        return data.features(tuple((whole | scene).values()), 16)

    for one in ({"count": "two"}, {"colour": "blue"}, {"relation": "above", "other": "square"}):
        step = at(**one) - at()
        assert np.abs(step).max() > 0.1
        assert (
            np.abs(at(size="large", shape="square", **one) - at(size="large", shape="square") - step).max()
            < 1e-12
        )


def test_sentences_end_at_different_steps() -> None:
    task = spec.load("caption")
    lengths = {n for batch in islice(tasks.batches(task, 0), 100) for n in batch.target_lengths.tolist()}  # type: ignore[union-attr]
    assert lengths == {3, 4, 5, 6, 7, 8}  # "a circle" to "two small red circles above a square", and EOS
    first = next(tasks.batches(task, 0))
    assert first.target_lengths is not None
    assert 1 < first.target_lengths.min() < first.target_lengths.max() == task.length == task.target_length


def test_each_word_is_trained_on_and_held_out(trained: list, held_out: list) -> None:
    for side in (trained, held_out):
        assert {word for _, sentence in side for word in sentence.split()} == set(WORDS)


def test_the_best_constant_sentence_by_counting(held_out: list) -> None:
    known = tasks.facts(spec.load("caption"))
    assert known.baseline == max(Counter(sentence for _, sentence in held_out).values()) / len(held_out)
    assert (known.optimum, known.unit) == (1, "exact match")


def test_held_out_batches_are_the_same_again() -> None:
    task = spec.load("caption", size="small")
    first, again = list(tasks.held_out(task, 0)), list(tasks.held_out(task, 0))
    assert len(first) == task.schedule.batches == 131 // 32
    assert all((a.targets == b.targets).all() for a, b in zip(first, again, strict=True))


def test_a_longer_t_is_padded_and_a_shorter_one_refused() -> None:
    batch = next(tasks.batches(spec.load("caption", length=12), 0))
    assert (batch.targets[:, 8:] == 0).all()
    assert batch.decoder_inputs is not None
    assert (batch.decoder_inputs[:, 8:] == 0).all()
    with pytest.raises(UserError, match=r"--length: expected 8 or more, for 'a small .*' and EOS, got 7"):
        next(tasks.batches(spec.load("caption", length=7), 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colours": ["", "red", "grey"]}, "outputs: expected 20: PAD, BOS, EOS and 17 words, got 21"),
        ({"sizes": []}, "sizes: expected one that is not empty"),
        ({"shapes": ["circle", 4]}, "shapes: expected a list of texts, got 4"),
        ({"counts": None}, "counts: expected a value of type list, got None"),
        ({"held_out_every": 1000}, r"held_out_every: expected 3 items \(batch\) .* got \(1438, 2\)"),
    ],
)  # fmt: skip
def test_a_source_at_odds_with_itself_is_named(options: dict[str, object], words: str) -> None:
    task = changed(spec.load("caption"), **options)
    for ask in (lambda: next(tasks.batches(task, 0)), lambda: list(tasks.held_out(task, 0))):
        with pytest.raises(UserError, match=f"data source 'scenes': {words}"):
            ask()
