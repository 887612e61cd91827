"""In which order: of the tables in a pass, of the rows at a table, of their turns in each block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from suites import seeds
from suites.selection import Question, Row

# At one table. Each process holds its framework and its batches, some 0.6 GiB with TensorFlow, all at a time;
# and the more rows, the longer between two of them. What is in impls/ is fewer.
LARGEST = 12

Item = TypeVar("Item")


def asked(row: Row) -> str:
    """What is asked of the row: equal of rows that are compared."""
    parts = row.record()
    return json.dumps([parts[name] for name in parts if name not in ("implementation", "variant")])


def shuffled(questions: list[Question], number: int) -> list[Question]:
    """Rows that will be compared side by side, in an order of each pass's own.

    Side by side, so that a burst of load hits them alike; shuffled from a named seed, so
    that none always follows the same neighbour. What is asked comes in turn, too.
    """
    together: dict[str, list[Question]] = {}
    for question in questions:
        together.setdefault(asked(question.row), []).append(question)
    found: list[Question] = []
    for name in drawn(sorted(together), number, "tables"):
        rows = sorted(together[name], key=lambda q: (q.row.implementation, q.row.variant))
        found += drawn(rows, number, "order", name)
    return found


def tables(rows: Iterable[Item], about: Callable[[Item], object], largest: int) -> list[list[Item]]:
    """Neighbours of which the same is known, together; more than the largest holds evenly on several."""
    found = []
    for _, same in groupby(rows, key=about):
        side_by_side = list(same)
        count = -(-len(side_by_side) // largest)
        found += [side_by_side[at::count] for at in range(count)]
    return found


def turns(names: Sequence[Item], number: int, block: int, about: str) -> list[Item]:
    """The order of one block of one pass, its own."""
    return drawn(names, number, "turns", str(block), about)


def drawn(items: Sequence[Item], number: int, *names: str) -> list[Item]:
    """The items in an order drawn from a named seed."""
    return [items[at] for at in seeds.permutation(seeds.generator(number, *names), len(items))]
