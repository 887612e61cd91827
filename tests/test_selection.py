"""Which rows the options select."""

from __future__ import annotations

import pytest

from results.errors import UserError
from suites import selection, spec


def rows(**options: str) -> list[selection.Row]:
    found = selection.questions(options.get, size="tiny", dtypes=spec.DTYPES)
    return [question.row for question in found]


def test_all_by_default() -> None:
    pairs = sum(len(spec.cells(name)) for name in spec.names())
    assert len(rows(impl="numpy")) == pairs * len(spec.DTYPES)


def test_a_cell_alone_selects_the_tasks_that_ask_for_it() -> None:
    found = {row.task for row in rows(impl="numpy", cell="gru_reset_before")}
    assert found == {name for name in spec.names() if "gru_reset_before" in spec.cells(name)}
    assert {row.cell for row in rows(impl="numpy", cell="rnn,gru")} == {"rnn", "gru"}
    with pytest.raises(UserError, match="unknown cell 'rnn'"):
        rows(impl="numpy", task="caption", cell="rnn")


def test_several_with_commas() -> None:
    found = rows(impl="numpy", task="adding", cell="lstm,gru", dtype="float64")
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
        ({"impl": "numpy", "dtype": "float16"}, "Known: float32, float64"),
        ({"impl": "numpy", "device": "gpuu"}, "Did you mean 'gpu'"),
        ({"impl": "numpy", "seed": "-1"}, "--seed"),
        ({"impl": "numpy", "data": "shakespeare"}, "Did you mean 'tinyshakespeare'"),
    ],
)
def test_mistakes_are_told(options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        rows(**options)
