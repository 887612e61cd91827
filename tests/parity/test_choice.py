"""The rows that a gate takes where nobody selects: few, and any two things meet in one of them."""

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites import implementations, selection, spec
from suites.parity.choice import FACTORS, covering, pairs
from suites.selection import Question
from tests.parity.test_gate import gate

NUMPY = selection.questions({"impl": "numpy"}.get, size="tiny", dtypes=spec.DTYPES)


def rows(questions: list[Question]) -> set[tuple[str, ...]]:
    return {tuple(getattr(question.row, factor) for factor in FACTORS) for question in questions}


@pytest.mark.parametrize("impl", implementations.names())
def test_any_two_values_that_meet_in_a_row_meet_in_one_that_is_chosen(impl: str) -> None:
    questions = selection.questions({"impl": impl}.get, size="tiny", dtypes=spec.DTYPES)
    chosen = covering(questions)
    for one, other in combinations(range(len(FACTORS)), 2):
        assert {(row[one], row[other]) for row in rows(chosen)} == {
            (row[one], row[other]) for row in rows(questions)
        }
    assert len(chosen) < len(questions) / 3


@given(st.lists(st.sampled_from(NUMPY), min_size=1, max_size=30, unique=True))
@settings(deadline=None)
def test_of_any_rows_no_pair_is_left_out_and_none_is_taken_for_nothing(questions: list[Question]) -> None:
    chosen, missing = covering(questions), set().union(*map(pairs, questions))
    assert chosen == [question for question in questions if question in chosen]  # their order
    assert set().union(*map(pairs, chosen)) == missing
    assert len(chosen) <= len(missing)


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        ((), len(covering(NUMPY)), True),
        (("--seed", "3"), len(covering(NUMPY)), True),
        (("--full",), len(NUMPY), False),
        (("--cell", "lstm"), sum(question.row.cell == "lstm" for question in NUMPY), False),
        (("--variant", "tuned"), sum(question.row.variant == "tuned" for question in NUMPY), False),
    ],
)
def test_who_selects_gets_all_of_it(tmp_path, options: tuple[str, ...], expected: int, said: bool) -> None:
    done = gate(tmp_path, "--impl", "numpy", "--collect-only", "-q", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"test_ladder.py::\S+\[numpy ", done.stdout)) == expected
    assert (f"{expected} of {len(NUMPY)} rows" in done.stdout) == said
