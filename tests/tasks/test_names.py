"""Generated names and what is known of them; names from a file a language."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.spec import PAD, Task
from suites.tasks import fetch, sequences
from suites.tasks.names import data

EXACT = 1e-12  # what sums of a few thousand products may lose


def small(classes: int, vocabulary: int, endings: int, length: int) -> Task:
    """A task whose names can all be written down."""
    task = spec.load("names", length=length)
    model = dataclasses.replace(task.model, outputs=classes, vocabulary=vocabulary)
    return dataclasses.replace(task, model=model, data=spec.Data("endings", {"endings": endings}))


def likelihood(name: tuple[int, ...], endings: list[list[int]], letters: int) -> float:
    """P(name | class, length): over its endings, by how the end of a name fits."""
    total = 0.0
    for ending in endings:
        shared = min(len(name), len(ending))
        fits = list(name[len(name) - shared :]) == ending[len(ending) - shared :]
        total += fits / len(endings) / letters ** (len(name) - shared)
    return total


def written(task: Task) -> list[list[list[int]]]:
    """The endings of each class, as lists of letters."""
    return [[row[-(k + 1) :].tolist() for k, row in enumerate(table)] for table in data.endings(task)]


@pytest.mark.parametrize(
    ("classes", "vocabulary", "endings", "length"), [(3, 4, 2, 5), (5, 4, 3, 6), (2, 3, 1, 4), (4, 4, 3, 2)]
)
def test_the_best_accuracy_is_that_of_every_name_summed(
    classes: int, vocabulary: int, endings: int, length: int
) -> None:
    task = small(classes, vocabulary, endings, length)
    letters, table = vocabulary - 1, written(task)
    shares = [2 * (c + 1) / (classes * (classes + 1)) for c in range(classes)]
    right = everything = 0.0
    for n in range(1, length + 1):
        for name in product(range(letters), repeat=n):
            p = [share * likelihood(name, table[c], letters) for c, share in enumerate(shares)]
            right += max(p) / length
            everything += sum(p) / length
    facts = tasks.facts(task)
    assert abs(everything - 1) < EXACT
    assert abs(facts.optimum - right) < EXACT
    assert abs(facts.baseline - max(shares)) < EXACT
    assert facts.unit == "accuracy"


def test_names_are_padded_and_end_as_their_class_does() -> None:
    task = spec.load("names", size="small")
    table, classes, lengths = written(task), [], []
    for batch in islice(tasks.batches(task, 0), 100):
        assert batch.lengths is not None
        assert batch.inputs.shape == (task.batch, task.length)
        assert batch.inputs.dtype == batch.targets.dtype == batch.lengths.dtype == np.int32
        valid = np.arange(task.length) < batch.lengths[:, None]
        assert ((batch.inputs == PAD) == ~valid).all()
        assert batch.inputs.max() < task.model.vocabulary
        for tokens, n, c in zip(batch.inputs, batch.lengths, batch.targets, strict=True):
            assert likelihood(tuple(tokens[:n] - 1), table[c], 26) > 0
        classes += batch.targets.tolist()
        lengths += batch.lengths.tolist()
    expected = data.shares(task.model.outputs)
    found = np.bincount(classes, minlength=len(expected)) / len(classes)
    # four standard errors of the largest share of 6,400 names
    assert abs(found - expected).max() < 0.016
    assert set(lengths) == set(range(1, task.length + 1))


def test_every_letter_and_ending_comes_sooner_or_later() -> None:
    task = spec.load("names", size="small")
    table, letters, endings = written(task), set(), set()
    for batch in islice(tasks.batches(task, 0), 100):
        letters |= set(batch.inputs.ravel().tolist())
        for tokens, n, c in zip(batch.inputs, batch.lengths, batch.targets, strict=True):
            name = (tokens[:n] - 1).tolist()
            endings |= {(c, k) for k, ending in enumerate(table[c]) if name[-len(ending) :] == ending}
    assert letters == set(range(task.model.vocabulary))
    assert endings == set(product(range(18), range(3)))


def test_the_best_reader_reaches_the_best_accuracy() -> None:
    """Who knows the endings is right as often as the formula says, within sampling error."""
    task = spec.load("names", size="small")
    table, shares, right = written(task), data.shares(18), []
    for batch in islice(tasks.held_out(task, 0), 64):
        for tokens, n, c in zip(batch.inputs, batch.lengths, batch.targets, strict=True):
            name = tuple((tokens[:n] - 1).tolist())
            p = [share * likelihood(name, table[k], 26) for k, share in enumerate(shares)]
            right.append(np.argmax(p) == c)
    # 4,096 names: the standard error is 0.005
    assert abs(np.mean(right) - tasks.facts(task).optimum) < 0.02


def test_seeds_are_apart_repeatable_and_apart_from_what_is_held_out() -> None:
    task = spec.load("names")
    first, again, other = (next(tasks.batches(task, seed)) for seed in (0, 0, 1))
    held = list(tasks.held_out(task, 0))
    assert (first.inputs == again.inputs).all()
    assert (first.inputs != other.inputs).any()
    assert (first.inputs != held[0].inputs).any()
    assert len(held) == task.schedule.batches


# names from files

STEMS = {
    "Danish": ["Jen", "Han", "Niel", "Ped", "Ånder", "Lar", "Ras", "Mad", "Ib", "Ø"],
    "Polish": ["Nowak", "Łuk", "Wał", "Żar", "Kow", "Ziel", "Jan", "Wis", "O", "Pa"],
}
ENDS = {"Danish": "sen", "Polish": "ski"}
NAMES = {language: [stem + ENDS[language] for stem in stems] for language, stems in STEMS.items()}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SOURCE = {"alphabet": ALPHABET, "held_out_share": 0.4, "longer": "last", "tokens_sha256": "none"}
REPLACED = {"ł": "l", "Ł": "L", "Ø": "Oe"}


def changed(task: Task, **keys: object) -> Task:
    """The task with other options in its data source."""
    options = dict(task.data.options) | keys
    return dataclasses.replace(task, data=dataclasses.replace(task.data, options=options))


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """A task on names in files of the user's, one a language; the hash is written as it is found."""
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))

    def load(names: dict[str, list[str]] = NAMES, *, hashed: bool = True, **keys: object) -> Task:
        hashes = {}
        for language, held in names.items():
            content = "".join(f"{name}\n" for name in held).encode()
            (tmp_path / f"{language}.txt").write_bytes(content)
            hashes[f"{language}.txt"] = hashlib.sha256(content).hexdigest()
        base = spec.load("names", length=12)
        model = dataclasses.replace(base.model, outputs=2, vocabulary=1 + len(ALPHABET))
        options = SOURCE | {"replaced": REPLACED, "files": hashes, "url": "https://example.org/"} | keys
        task = dataclasses.replace(base, model=model, data=spec.Data("own", options))
        if hashed:
            with pytest.raises(UserError, match="tokens_sha256: expected none, got") as caught:
                next(tasks.batches(task, 0))
            task = changed(task, tokens_sha256=re.findall(r"[0-9a-f]{64}", str(caught.value))[0])
        return task

    return load


def in_letters(side: sequences.Sequences) -> list[tuple[int, str]]:
    """The names of one side again, with their labels."""
    return [
        (int(label), "".join(ALPHABET[token - 1] for token in tokens[:n]))
        for tokens, n, label in zip(side.tokens, side.lengths, side.labels, strict=True)
    ]


def test_names_are_brought_to_ascii() -> None:
    for name, plain in [("Ångström", "Angstrom"), ("Ślusàrski", "Slusarski"), ("Wałęsa", "Walesa")]:
        assert data.ascii_of(name, REPLACED) == plain
    assert data.ascii_of("A\u030angstro\u0308m", {"ö": "oe"}) == "Angstroem"  # accents written apart
    assert data.ascii_of("Wałęsa", {}) == "Wałesa"


def test_names_are_labelled_split_and_cut(real: Callable[..., Task]) -> None:
    task = dataclasses.replace(real(), length=6)
    training, held = data._real_names(task)
    plain = [data.ascii_of(name, REPLACED) for language in NAMES for name in NAMES[language]]
    expected = sorted((label, name[-6:]) for label, name in zip([0] * 10 + [1] * 10, plain, strict=True))
    assert sorted(in_letters(training) + in_letters(held)) == expected
    assert held.labels.size >= task.batch
    for side in (training, held):
        assert ((side.tokens == PAD) == (np.arange(6) >= side.lengths[:, None])).all()
    batch = next(tasks.held_out(task, 0))
    assert (batch.inputs == held.tokens[: task.batch]).all()
    assert (batch.targets == held.labels[: task.batch]).all()
    assert np.isnan(tasks.facts(task).optimum)
    assert tasks.facts(task).baseline == np.bincount(held.labels).max() / held.labels.size


def test_the_first_letters_can_be_kept(real: Callable[..., Task]) -> None:
    task = dataclasses.replace(real(longer="first"), length=3)
    seen = {name for side in data._real_names(task) for _, name in in_letters(side)}
    assert {"Jen", "Now", "Oes"} <= seen


def test_a_name_of_two_languages_is_on_one_side(real: Callable[..., Task]) -> None:
    task = real({"Danish": NAMES["Danish"], "Polish": NAMES["Danish"] + NAMES["Polish"]})
    training, held = ({name for _, name in in_letters(side)} for side in data._real_names(task))
    assert not training & held


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Jensen", "J3nsen"], "line 2: expected one of the 52 characters .*got '3' in 'J3nsen'"),
        (["Jensen", "", "Hansen"], "line 2: expected a name, got ''"),
        (["Jensen", "  "], "line 2: expected a name, got '  '"),
        (["Jensen", "\u0301"], "line 2: expected a name, got"),
        ([], "line 1: expected text, got an empty file"),
    ],
)
def test_a_bad_file_is_named_with_line_and_rule(
    real: Callable[..., Task], names: list[str], words: str
) -> None:
    task = real(NAMES | {"Danish": names}, hashed=False)
    with pytest.raises(UserError, match=f"Danish.txt, {words}"):
        next(tasks.batches(task, 0))


def test_a_name_over_t_is_refused_where_no_rule_says_what_to_keep(real: Callable[..., Task]) -> None:
    task = real(NAMES | {"Danish": [*NAMES["Danish"], "Rasmussenhansen"]})
    next(tasks.batches(task, 0))
    with pytest.raises(UserError, match=r"Danish.txt, line 11: expected at most T = 12 tokens, got 15"):
        next(tasks.batches(changed(task, longer=None), 0))


def test_white_space_around_a_name_is_off(real: Callable[..., Task]) -> None:
    task = real(NAMES | {"Danish": [f" {name} " for name in NAMES["Danish"]]})
    seen = {name for side in data._real_names(task) for _, name in in_letters(side)}
    assert {"Jensen", "Oesen"} <= seen


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"alphabet": ALPHABET[1:]}, "alphabet: expected 52 characters .*, got 51, 51 of them"),
        (
            {"alphabet": "AA" + ALPHABET[2:]},
            "alphabet: expected 52 characters .*, got 52, 51 of them",
        ),
        ({"files": {}}, r"files: expected 2, one a class \(outputs\), got 0"),
        ({"tokens_sha256": "0"}, "tokens_sha256: expected 0, got"),
        ({"longer": "middle"}, "longer: expected 'first' or 'last', got 'middle'"),
    ],
)
def test_a_bad_source_is_named(real: Callable[..., Task], keys: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=f"'own': {words}"):
        next(tasks.batches(changed(real(), **keys), 0))


def test_the_spec_holds_the_eighteen_files() -> None:
    task = spec.load("names", data="surnames", size="tutorial")
    files = fetch.files(task.data.options)
    assert len(files) == task.model.outputs == 18
    assert len({file.sha256 for file in files}) == 18
    assert files[0].url.endswith("/data/names/Arabic.txt")
    assert task.model.vocabulary == 1 + len(task.data.options["alphabet"])
