"""Several seeds of one row: which ``--seeds`` names, and which are trained already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from results.errors import UserError
from results.record import Record
from suites import recording
from suites.selection import Question
from suites.train.run import DIVERGENCE

PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)
MOST = 1000  # more are a slip of the finger


def seeds(text: str) -> list[int]:
    """The seeds of ``0-7`` or ``0,2,5-9``, in the order given. Raises UserError."""
    found: list[int] = []
    for part in text.split(","):
        span = PART.fullmatch(part)
        if not span:
            raise UserError(f"--seeds: expected seeds like 0-7 or 0,2,5-9, got {part!r} in {text!r}.")
        first, last = int(span[1]), int(span[2] or span[1])
        if last < first:
            raise UserError(f"--seeds: expected a span from small to large, got {part!r}: {last}-{first}?")
        if len(found) + last - first >= MOST:
            raise UserError(f"--seeds: expected at most {MOST} seeds, got {text!r}.")
        found += range(first, last + 1)
    twice = sorted({seed for seed in found if found.count(seed) > 1})
    if twice:
        listed = ", ".join(map(str, twice))
        raise UserError(f"--seeds: expected each seed once, got {listed} more than once in {text!r}.")
    return found


def of_seeds(question: Question, numbers: Sequence[int]) -> list[Question]:
    """The question, asked from each seed."""
    return [replace(question, row=replace(question.row, seed=number)) for number in numbers]


def outcomes(
    questions: Sequence[Question], records: Sequence[Record], origin: dict[str, Any]
) -> dict[int, Record]:
    """By seed: the newest training of the same spec, source, lock, versions and hardware that came to an end.

    One that diverged is at its end too: to train it again until it does not would be to choose among results.
    """
    keys = {recording.key("training", question, origin): question.row.seed for question in questions}
    return {  # oldest come first
        keys[record["key"]]: record
        for record in records
        if record["key"] in keys and (record["status"] == "ok" or record["reason"].startswith(DIVERGENCE))
    }
