"""One task and cell over many seeds: the oracle's references, and one clip threshold for all.

The gate's own fixture takes a threshold between the gradient norms of its own seed. Here one
threshold serves all seeds of a pair, so that an implementation is built, and compiled, once:
the one that is active and idle within the first steps in as many seeds as possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from results.errors import UserError
from suites.parity.fixtures import Fixture, make, norms
from suites.parity.reference import Reference, answered
from suites.spec import Task


@dataclass(frozen=True)
class Clip:
    """The threshold, and in how many seeds it was active and idle at one of the first steps."""

    threshold: float
    active: int
    idle: int
    both: int


@dataclass(frozen=True)
class Pair:
    """A task and cell with its references, and why a seed has none."""

    clip: Clip
    references: dict[int, Reference]
    refused: dict[int, str]


def pair(task: Task, seeds: list[int]) -> Pair:
    """The references of all seeds that the gate would not refuse. Raises UserError where it refuses all."""
    fixtures: dict[int, Fixture] = {}
    refused: dict[int, str] = {}
    for seed in seeds:
        try:
            fixtures[seed] = make(task, seed)
        except UserError as error:
            refused[seed] = str(error)
    if not fixtures:
        raise UserError(f"{task.name} {task.model.cell}: expected a seed with a fixture, got {refused}.")
    clip = threshold(list(fixtures.values()))
    references: dict[int, Reference] = {}
    for seed, fixture in fixtures.items():
        try:
            references[seed] = answered(clipped(fixture, clip.threshold))
        except UserError as error:
            refused[seed] = str(error)
    return Pair(clip, references, refused)


def threshold(fixtures: list[Fixture]) -> Clip:
    """Of the fixtures' own thresholds, the one that lies between the norms of most."""
    candidates = [fixture.task.training.clip for fixture in fixtures]
    free = [_range(clipped(fixture, math.inf)) for fixture in fixtures]
    best = max(candidates, key=lambda clip: sum(low < clip < high for low, high in free))
    ranges = [_range(clipped(fixture, best)) for fixture in fixtures]
    return Clip(
        best,
        active=sum(high > best for _, high in ranges),
        idle=sum(low < best for low, _ in ranges),
        both=sum(low < best < high for low, high in ranges),
    )


def clipped(fixture: Fixture, clip: float) -> Fixture:
    """The fixture under another clip threshold."""
    training = replace(fixture.task.training, clip=clip)
    return replace(fixture, task=replace(fixture.task, training=training))


def _range(fixture: Fixture) -> tuple[float, float]:
    """The smallest and the largest gradient norm of the first steps."""
    found = norms(fixture, fixture.task.training.optimiser)
    return min(found), max(found)
