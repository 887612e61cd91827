"""The measuring loop: every row over all seeds, in one process, with the same built implementations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from results import store
from results.errors import UserError
from suites import implementations, recording
from suites.interface import Implementation, Unavailable
from suites.parity.calibration.errors import Sample, rounded, samples, summary
from suites.parity.calibration.seeds import Pair, pair
from suites.parity.comparator import NUMERIC
from suites.parity.ladder import Climb
from suites.parity.level import Level, failure_text
from suites.parity.reference import Reference
from suites.selection import Question
from suites.spec import Task

KIND = "calibration"
# What an implementation may raise. It ends one seed of one row, and is told as its failure.
CRASHES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
Build = Callable[[Task], Implementation]
Seed = tuple[dict[str, Any], list[Sample]]


def measured(
    questions: list[Question], seeds: list[int], top: int, folder: Path
) -> Iterator[tuple[int, Question, dict[str, Any]]]:
    """Measure each row that has no record yet; its number, itself and its record's body as it is done.

    Rows of one task and cell share the oracle's references.
    """
    questions = [replace(q, row=replace(q.row, seed=seeds[0])) for q in questions]
    done = {record["key"] for record in store.read_all(folder, keep_aside=False)[0]}
    asked: dict[tuple[str, str], list[tuple[int, Question]]] = {}
    for number, question in enumerate(questions, start=1):
        if key(question, seeds, top) not in done:
            asked.setdefault((question.row.task, question.row.cell), []).append((number, question))
    for rows in asked.values():
        known = pair(rows[0][1].task, seeds)
        for number, question in rows:
            body = row(question, known, seeds, top)
            write(folder, question, body, seeds, top)
            yield number, question, body


def key(question: Question, seeds: list[int], top: int) -> str:
    """What makes two measurements the same: the row's key, with the seeds and the highest level."""
    where = recording.origin(question.folder, question.row.device)
    return recording.key(KIND, question, where, seeds=seeds, top=top)


def row(question: Question, known: Pair, seeds: list[int], top: int) -> dict[str, Any]:
    """A row over all seeds: the body of its record."""
    began = time.monotonic()
    make = implementations.builder(question.folder, question.row.variant)

    @cache  # one an optimiser: the clip threshold is the same for every seed
    def build(task: Task) -> Implementation:
        return make(task, question.row.dtype, question.row.device)

    told: list[dict[str, Any]] = []
    found: list[Sample] = []
    for seed in seeds:
        if seed in known.references:
            entry, seen = climbed(known.references[seed], question.row.dtype, build, top)
        else:
            entry, seen = {"seed": seed, "status": "refused", "text": known.refused[seed]}, []
        told.append(entry)
        found += seen
    body: dict[str, Any] = {
        "seeds": told,
        "top": top,
        "levels": summary(found),
        "clip": asdict(known.clip),
        "seconds": round(time.monotonic() - began, 1),
    }
    if question.row.dtype == "float64":  # the only rules that kappa enters
        body["kappa"] = kappa(known)
    return body


def climbed(reference: Reference, dtype: str, build: Build, top: int) -> Seed:
    """One seed: how far it came, and every comparison that a constant decides."""
    seed = reference.fixture.seed
    levels: list[Level] = []
    crash = ""
    try:
        for level in Climb(reference, dtype, build).levels():
            levels.append(level)
            if level.level >= top:
                break
    except Unavailable:
        raise
    except CRASHES as error:
        crash = f"{type(error).__name__}: {error}"
    entry = {"seed": seed, **outcome(levels, crash)}
    found = [sample for level in levels for sample in samples(level, dtype, seed)]
    if found:
        entry["ratio"] = rounded(max(sample.finding.ratio for sample in found))
    return entry, found


def outcome(levels: list[Level], crash: str) -> dict[str, Any]:
    """A seed's status; where it did not pass every level to its end, how far it came."""
    if crash:
        return {"status": "crashed", "level": levels[-1].level if levels else -1, "text": crash}
    last = levels[-1]
    if last.status == "failed":
        by_number = last.told is not None and last.told.problem in NUMERIC
        return {"status": "failed", "level": last.level, "numeric": by_number, "text": failure_text(last)}
    short = [level for level in levels if level.status == "horizon reached"]
    if short:
        steps = short[0].trajectory.steps if short[0].trajectory else 0
        return {"status": short[0].status, "steps": steps}
    return {"status": "passed"}


def kappa(known: Pair) -> dict[str, float]:
    """Per tensor the largest kappa over the seeds."""
    largest: dict[str, float] = {}
    for reference in known.references.values():
        for name, value in reference.kappa.items():
            largest[name] = max(rounded(value), largest.get(name, 0.0))
    return largest


def write(folder: Path, question: Question, body: dict[str, Any], seeds: list[int], top: int) -> Path:
    """The row's record."""
    status, reason = verdict(question, body)
    return recording.write(folder, KIND, question, status, reason, body, seeds=seeds, top=top)


def verdict(question: Question, body: dict[str, Any]) -> tuple[str, str]:
    """The row's status and why: a false alarm in any seed fails it.

    A row with a stated deviation must fail by a number in every seed.
    """
    stated = implementations.deviation(question.folder, question.row.variant, question.row.cell)
    alarms = failures(body)
    if stated is not None:
        climbs = [entry for entry in body["seeds"] if entry["status"] != "refused"]
        if all(entry.get("numeric") for entry in climbs):
            return "deviates", f"{stated.id}: {stated.reason}"
        return "failed", f"the stated deviation {stated.id} does not fail by a number in every seed"
    if alarms:
        which = ", ".join(str(entry["seed"]) for entry in alarms)
        return "failed", f"false alarm in {len(alarms)} of {len(body['seeds'])} seeds: {which}"
    return "passed", ""


def failures(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The seeds that failed or crashed."""
    return [entry for entry in body["seeds"] if entry["status"] in ("failed", "crashed")]


def parsed_seeds(text: str) -> list[int]:
    """``1-20`` or ``3,7,9-12`` as numbers, each once. Raises UserError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not first.isdecimal() or not last.isdecimal() or int(last) < int(first):
            raise UserError(f"--seeds: expected numbers and ranges such as 1-20 or 3,7, got {text!r}.")
        found += range(int(first), int(last) + 1)
    return list(dict.fromkeys(found))
