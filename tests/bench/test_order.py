"""Orders: every row once, another order each time, rows that are compared at one table."""

from __future__ import annotations

from itertools import groupby

from suites import selection
from suites.bench import order
from suites.bench.order import asked, shuffled, tables, turns
from suites.selection import Question


def questions(**more: str) -> list[Question]:
    return [
        question
        for impl in ("torch", "jax", "tensorflow")
        for question in selection.questions({"impl": impl, **more}.get, size="small", dtypes=("float32",))
    ]


def test_rows_that_are_compared_run_side_by_side_in_another_order_each_pass() -> None:
    found = questions()
    first, second = shuffled(found, 0), shuffled(found, 1)
    assert set(first) == set(second) == set(found)
    assert first != second
    assert first == shuffled(list(reversed(found)), 0)
    rows = [(question.row.task, question.row.cell) for question in first]
    assert len(list(groupby(rows))) == len(set(rows))


def test_rows_of_one_spec_are_at_one_table() -> None:
    """A curve asks the same task and cell at many lengths."""
    found = shuffled([q for length in ("5", "9") for q in questions(task="adding", length=length)], 0)
    made = tables(found, lambda question: asked(question.row), order.LARGEST)
    assert [question for table in made for question in table] == found
    assert len(made) == len({(q.row.cell, q.row.length) for q in found})
    for table in made:
        assert len({(q.row.cell, q.row.length) for q in table}) == 1


def test_a_table_has_a_largest_size() -> None:
    made = tables(range(14), lambda _: "same", 12)
    assert sorted(map(len, made)) == [7, 7]
    assert sorted(row for table in made for row in table) == list(range(14))
    assert tables(range(3), lambda _: "same", 1) == [[0], [1], [2]]
    assert tables([], lambda _: "same", 12) == []


def test_every_block_has_an_order_of_its_own() -> None:
    names = ["a", "b", "c", "d", "e"]
    orders = [turns(names, number, block, "adding") for number in range(2) for block in range(5)]
    assert all(sorted(found) == names for found in orders)
    assert len({tuple(found) for found in orders}) > 5
    assert orders[0] == turns(names, 0, 0, "adding")
    assert any(turns(names, 0, block, "char_lm") != orders[block] for block in range(5))
