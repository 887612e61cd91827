"""Which rows the options select."""

from __future__ import annotations

import pytest

from results.errors import UserError
from suites import implementations, selection, spec
from suites.bench.campaign import row_options


def rows(**options: str) -> list[selection.Row]:
    found = selection.questions(options.get, size="tiny", dtypes=spec.DTYPES)
    return [question.row for question in found]


def test_all_by_default() -> None:
    pairs = sum(len(spec.cells(name)) for name in spec.names())
    variants = implementations.find("numpy").usual
    assert len(rows(impl="numpy")) == pairs * len(spec.DTYPES) * len(variants)


def test_what_is_on_request_is_had_on_request() -> None:
    assert "remat" not in {row.variant for row in rows(impl="numpy")}
    assert {row.variant for row in rows(impl="numpy", variant="remat,tuned")} == {"remat", "tuned"}


def test_a_cell_alone_selects_the_tasks_that_ask_for_it() -> None:
    found = {row.task for row in rows(impl="numpy", cell="gru_reset_before")}
    assert found == {name for name in spec.names() if "gru_reset_before" in spec.cells(name)}
    assert {row.cell for row in rows(impl="numpy", cell="rnn,gru")} == {"rnn", "gru"}
    with pytest.raises(UserError, match="unknown cell 'rnn'"):
        rows(impl="numpy", task="caption", cell="rnn")


def test_several_with_commas() -> None:
    found = rows(impl="numpy", variant="scratch", task="adding", cell="lstm,gru", dtype="float64")
    assert [(row.cell, row.dtype) for row in found] == [("lstm", "float64"), ("gru", "float64")]


def test_data_alone_selects_the_tasks_that_have_it() -> None:
    assert {row.task for row in rows(impl="numpy", data="tinyshakespeare")} == {"char_lm"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--impl"),
        ({"impl": "nunpy"}, "Did you mean 'numpy'"),
        ({"impl": "numpy", "variant": "scrach"}, "Did you mean 'scratch'"),
        ({"impl": "numpy", "cell": "lstm,gur"}, "Did you mean 'gru'"),
        ({"impl": "numpy", "dtype": "float16"}, "Known: bf16, float32, float64, tf32"),
        ({"impl": "numpy", "device": "gpuu"}, "Did you mean 'gpu'"),
        ({"impl": "numpy", "seed": "-1"}, "--seed"),
        ({"impl": "numpy", "batch": "many"}, "--batch: expected a whole number, got 'many'"),
        ({"impl": "numpy", "seed": "2²"}, "--seed: expected a whole number, got '2²'"),
        ({"impl": "numpy", "task": "adding", "batch": "0"}, "--batch: expected an integer of at least 1"),
        ({"impl": "numpy", "task": "adding", "hidden": "65537"}, "--hidden: .* at most 65536"),
        ({"impl": "numpy", "data": "shakespeare"}, "Did you mean 'tinyshakespeare'"),
    ],
)
def test_mistakes_are_told(options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        rows(**options)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, "tiny"),
        ({"batch": "5", "hidden": "7"}, "tiny"),  # its own: the very row
        ({"batch": "1"}, "tiny, B = 1"),
        ({"hidden": "256", "size": "small"}, "small, H = 256"),
        ({"batch": "1", "hidden": "256", "length": "9"}, "tiny, B = 1, H = 256"),
    ],
)
def test_a_row_names_the_batch_and_width_that_are_not_its_size_s_own(
    options: dict[str, str], size: str
) -> None:
    (row,) = rows(impl="numpy", variant="scratch", task="adding", cell="lstm", dtype="float32", **options)
    assert row.size == size


@pytest.mark.parametrize("options", [{}, {"batch": "1"}, {"hidden": "9", "length": "6"}])
def test_a_child_is_asked_for_just_this_row(options: dict[str, str]) -> None:
    asked = {"impl": "numpy", "variant": "scratch", "size": "small"}
    asked |= {"task": "char_lm", "cell": "gru", "dtype": "float32"}
    (question,) = selection.questions((asked | options).get, size="tiny", dtypes=spec.DTYPES)
    texts = row_options(question)
    given = dict(zip([flag.removeprefix("--") for flag in texts[::2]], texts[1::2], strict=True))
    (again,) = selection.questions(({"impl": "numpy"} | given).get, size="tiny", dtypes=spec.DTYPES)
    assert (again.row, again.task) == (question.row, question.task)


def test_data_that_cannot_fill_a_batch_are_told_before_anything_runs() -> None:
    chosen = {"impl": "numpy", "task": "caption", "cell": "lstm"}
    found = [
        question
        for batch in ("2", "3000")
        for question in selection.questions((chosen | {"batch": batch}).get, size="tiny", dtypes=("float32",))
    ]
    with pytest.raises(UserError, match="expected 3000 items"):
        selection.check_data(found)
