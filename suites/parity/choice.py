"""Which rows a gate takes where nobody selects: few, in which any two things meet.

A defect mostly lies in one thing, or in two that meet: a cell of one variant, a variant in one dtype. So of
the rows a set is chosen in which each pair of values that occurs at all occurs once: each task with each of
its cells, each variant and dtype with each task, with each cell and with each other (all-pairs testing;
Cohen et al. 1997, "The AETG system", IEEE TSE 23(7)). ``--full`` takes every row.
"""

from __future__ import annotations

from itertools import combinations

from suites.selection import Question

FACTORS = ("task", "cell", "variant", "dtype")
SELECTING = (*FACTORS, "data")  # whoever gives one of these has chosen

Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs(question: Question) -> set[Pair]:
    """Each two of the row's task, cell, variant and dtype."""
    return set(combinations([(factor, getattr(question.row, factor)) for factor in FACTORS], 2))


def covering(questions: list[Question]) -> list[Question]:
    """A few of the rows, in their order, in which every pair of all of them occurs.

    Greedy: the row with most pairs that are still missing, the first of several.
    """
    of_row = [pairs(question) for question in questions]
    missing, chosen = set().union(*of_row), set()
    while missing:
        best = max(range(len(questions)), key=lambda k: len(of_row[k] & missing))
        chosen.add(best)
        missing -= of_row[best]
    return [question for k, question in enumerate(questions) if k in chosen]
