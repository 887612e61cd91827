"""What a data source of a task file says, read with its type; what it lacks or has wrong is a UserError."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from results.errors import UserError
from suites.seeds import Integers
from suites.spec import Task

Kind = TypeVar("Kind", int, float, str, list)  # type: ignore[type-arg]


def bad(task: Task, key: str, expected: str, got: object) -> UserError:
    """The error for a key of the task's data source."""
    return UserError(f"data source {task.data.name!r}: {key}: expected {expected}, got {got}.")


def option(task: Task, key: str, kind: type[Kind]) -> Kind:
    """A value, a text or a list that is not empty; a whole number will do for a float. Raises UserError."""
    value = task.data.options.get(key)
    if kind is float and type(value) is int:
        return kind(value)
    if type(value) is not kind:
        raise bad(task, key, f"a value of type {kind.__name__}", repr(value))
    if value in ("", []):
        raise bad(task, key, "one that is not empty", repr(value))
    return value


def words(task: Task, key: str) -> list[str]:
    """A list of texts. Raises UserError."""
    found = option(task, key, list)
    for word in found:
        if not isinstance(word, str):
            raise bad(task, key, "a list of texts", repr(word))
    return found


def numbers(task: Task, key: str) -> list[float]:
    """A list of numbers. Raises UserError."""
    found = option(task, key, list)
    for number in found:
        if type(number) not in (int, float) or not math.isfinite(number):
            raise bad(task, key, "a list of finite numbers", repr(number))
    return found


def hold_out(task: Task, items: Integers) -> tuple[Integers, Integers]:
    """What is trained on, and what is held out: the numbers that ``held_out_every`` divides.

    Raises UserError where the one or the other fills no batch.
    """
    every, B = option(task, "held_out_every", int), task.batch
    if every < 1:
        raise bad(task, "held_out_every", "at least 1", every)
    out = items % every == 0
    counts = int(np.sum(~out)), int(np.sum(out))
    if min(counts) < B:
        raise bad(task, "held_out_every", f"{B} items (batch) in training and held out", counts)
    return items[~out], items[out]
