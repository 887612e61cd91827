"""The spec: what is read, what is refused, and with which words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from results.errors import UserError
from suites import spec, tasks

GOOD = (spec.TASKS / "adding" / "task.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", spec.names())
def test_every_task_has_the_sizes_that_the_commands_need(name: str) -> None:
    for cell in spec.cells(name):
        for size in ("tiny", "small"):  # proven at, timed and trained at
            found = spec.load(name, cell=cell, size=size)
            assert (found.name, found.model.cell, found.size) == (name, cell, size)


@pytest.mark.parametrize("name", spec.names())
def test_every_size_and_source_of_a_task_can_be_loaded(name: str) -> None:
    for size in spec.sizes(name):
        for data in spec.data_names(name):
            assert spec.load(name, size=size, data=data).size == size


@pytest.mark.parametrize("name", spec.names())
def test_the_sizes_of_the_gate_are_pairwise_different(name: str) -> None:
    """So that no transposition can hide; a width of 1 has none."""
    task = spec.load(name)
    model = task.model
    steps = [task.target_length] if model.wiring == "decoder" else [task.length, task.target_length]
    widths = [model.features, model.vocabulary, model.embedding, model.hidden, model.outputs]
    found = [n for n in [task.batch, *steps, *widths] if n > 1]
    if model.outputs == model.vocabulary:  # a language model predicts what it reads
        found.remove(model.vocabulary)
    assert len(set(found)) == len(found), found


def test_batch_length_and_hidden_stand_in_place_of_the_size_s_own() -> None:
    own = spec.load("adding", size="small")
    task = spec.load("adding", size="small", batch=1, length=9, hidden=3)
    assert (task.size, task.batch, task.length, task.model.hidden) == ("small", 1, 9, 3)
    replaced = dataclasses.replace(own.model, hidden=3)
    assert dataclasses.replace(own, batch=1, length=9, model=replaced) == task


def test_a_lone_decoder_s_target_length_follows() -> None:
    assert spec.load("caption", length=9).target_length == 9


def test_a_task_cannot_be_changed() -> None:
    task = spec.load("adding")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.batch = 3  # type: ignore[misc]


def test_the_fingerprint_follows_every_field() -> None:
    base = spec.load("adding")
    assert spec.fingerprint(base) == spec.fingerprint(spec.load("adding"))
    others = [
        spec.load("adding", cell="gru"),
        spec.load("adding", size="small"),
        spec.load("adding", length=12),
        spec.load("adding", batch=1),
        spec.load("adding", hidden=8),
        spec.load("char_lm"),
        dataclasses.replace(base, training=dataclasses.replace(base.training, epsilon=1e-7)),
        dataclasses.replace(base, margin=0.1),  # a margin is stated before the run or not at all
    ]
    assert len({spec.fingerprint(task) for task in [base, *others]}) == 1 + len(others)


def test_the_fingerprint_follows_the_schedule_and_the_split() -> None:
    base = spec.load("char_lm", data="tinyshakespeare")
    longer = dataclasses.replace(base, schedule=dataclasses.replace(base.schedule, steps=80))
    options = dict(base.data.options) | {"training_share": 0.9}
    other_split = dataclasses.replace(base, data=dataclasses.replace(base.data, options=options))
    assert len({spec.fingerprint(task) for task in (base, longer, other_split)}) == 3


@pytest.mark.parametrize("name", spec.names())
def test_every_task_states_a_margin_far_below_what_there_is_to_learn(name: str) -> None:
    task = spec.load(name, size="small")
    facts = tasks.facts(task)
    assert task.margin is not None
    assert 0 < task.margin <= 0.03 * abs(facts.optimum - facts.baseline)


def test_a_file_without_a_margin_states_none(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text(GOOD.replace("[equivalence]\nmargin = 1.7e-3", ""), encoding="utf-8")
    assert spec.load(str(path)).margin is None
    assert spec.load("adding").margin == 1.7e-3


def test_a_source_may_name_the_size_that_it_is_trained_at() -> None:
    assert spec.trained_size("char_lm", "tinyshakespeare", "small") == "paper"
    assert spec.trained_size("char_lm", None, "small") == "small"
    with pytest.raises(UserError, match="Did you mean 'tinyshakespeare'"):
        spec.trained_size("char_lm", "tinyshakespear", "small")


@pytest.mark.parametrize("length", [10, 50, 100, 200, 37])
def test_the_length_can_be_any(length: int) -> None:
    assert spec.load("adding", length=length).length == length


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("learning_rate = 1e-2", "learning_rate = -1", ["training.learning_rate", "more than 0", "-1"]),
        ("learning_rate = 1e-2", 'learning_rate = "fast"', ["training.learning_rate", "number", "fast"]),
        ("learning_rate", "learning_rat", ["training", "learning_rat"]),
        ("clip = 1.0", "", ["training", "'clip'"]),
        ("batch = 5", "batch = 0", ["sizes.tiny.batch", "at least 1", "0"]),
        ("length = 11", "length = 0", ["sizes.tiny.length", "at least 1"]),
        ("batch = 5", "batch = 5.5", ["sizes.tiny.batch", "integer", "5.5"]),
        ('head = "final"', 'head = "last"', ["model.head", "final", "last"]),
        ('optimiser = "adam"', 'optimiser = "rmsprop"', ["training.optimiser", "adam", "rmsprop"]),
        ("features = 2", "", ["model.features"]),
        ("[model]", "[model", ["TOML"]),
        ("betas = [0.9, 0.999]", "betas = [0.9, 1.0]", ["training.betas.1", "less than 1", "1.0"]),
        ("steps = 60", "", ["sizes.tiny", "'steps'"]),
        ("steps = 60", "steps = 0", ["sizes.tiny.steps", "at least 1"]),
        (
            "evaluate_every = 20",
            "evaluate_every = 25",
            ["sizes.tiny.evaluate_every", "divisor of steps = 60", "25"],
        ),
        ("[data.generated]", "[data.generated]\ntraining_share = 1", ["training_share", "less than 1"]),
        ("stateful = false", "stateful = 0", ["training.stateful", "boolean", "0"]),
        ("margin = 1.7e-3", "margin = 0", ["equivalence.margin", "more than 0"]),
        ("margin = 1.7e-3", "margin = -0.1", ["equivalence.margin", "more than 0", "-0.1"]),
        ("margin = 1.7e-3", 'margin = "small"', ["equivalence.margin", "number", "small"]),
        ("margin = 1.7e-3", "margin = inf", ["equivalence.margin", "at most"]),
        ("margin = 1.7e-3", "margin = nan", ["equivalence.margin", "a number", "nan"]),
        ("margin = 1.7e-3", "", ["equivalence", "'margin'"]),
    ],
)
def test_a_bad_file_is_named_with_key_expected_and_got(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in GOOD
    path = tmp_path / "task.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        spec.load(str(path))
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        spec.load(str(path))


MODELS = {
    "adding": (spec.TASKS / "adding" / "task.toml").read_text(encoding="utf-8"),
    "char_lm": (spec.TASKS / "char_lm" / "task.toml").read_text(encoding="utf-8"),
}


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        (
            "adding",
            {"features = 2": 'features = 2\nwiring = "encoder_decoder"'},
            "an encoder_decoder reads tokens",
        ),
        ("adding", {"features = 2": "features = 2\nragged = true"}, "ragged inputs are tokens"),
        (
            "adding",
            {"features = 2": "features = 2\ngenerates = true"},
            "an encoder that generates reads tokens",
        ),
        ("adding", {"hidden = 7": "hidden = 7\ndropout = 0.5"}, "between layers"),
        ("adding", {"hidden = 7": "hidden = 7\ndropout = 1"}, "less than 1"),
        ("adding", {"hidden = 7": "hidden = 7\nlayers = 0"}, "at least 1"),
        ("adding", {"hidden = 7": "hidden = 7\nbidirectional = 1"}, "boolean"),
        ("adding", {"features = 2": 'features = 2\nwiring = "decoder"'}, "expected sizes.tiny.embedding"),
        (
            "char_lm",
            {"hidden = 6": "hidden = 6\nfeatures = 3"},
            "inputs are tokens: expected no features, got 3",
        ),
        ("char_lm", {'head = "every"': 'head = "every"\nragged = true'}, "cannot be bidirectional or ragged"),
        ("char_lm", {'inputs = "tokens"': 'inputs = "tokens"\nwiring = "decoder"'}, "starts from features"),
        (
            "char_lm",
            {
                'inputs = "tokens"': 'inputs = "tokens"\nwiring = "encoder_decoder"\n',
                "stateful = true": "stateful = false",
                "generates = true": "generates = true\nragged = true",
            },
            "sizes.tiny.target_length",
        ),
    ],
)
def test_what_cannot_stand_together_is_refused(
    tmp_path: Path, task: str, changes: dict[str, str], words: str
) -> None:
    text = MODELS[task]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "task.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        spec.load(str(path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": "addin"}, "Did you mean 'adding'"),
        ({"task": "adding", "cell": "lsmt"}, "Did you mean 'lstm'"),
        ({"task": "adding", "size": "tny"}, "Did you mean 'tiny'"),
        ({"task": "char_lm", "data": "tinyshakespear"}, "Did you mean 'tinyshakespeare'"),
        ({"task": "adding", "length": 0}, "--length: expected an integer of at least 1"),
        ({"task": "adding", "length": 65_537}, "at most 65536"),
        ({"task": "adding", "batch": 0}, "--batch: expected an integer of at least 1"),
        ({"task": "adding", "hidden": 0}, "--hidden: expected an integer of at least 1"),
        ({"task": "nowhere.toml"}, "no such file"),
    ],
)
def test_an_unknown_name_gets_the_nearest_valid_one(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        spec.load(**arguments)  # type: ignore[arg-type]
