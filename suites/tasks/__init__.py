"""The tasks: each folder holds ``task.toml`` (the spec) and ``data.py`` (its batches).

``data.py`` offers ``batches(task, seed)``, an endless iterator of batches with
floats in float32; ``held_out(task, seed)``, batches that training never sees; and
``facts(task)``, the best and the trivial loss.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from suites import seeds
from suites.interface import Batch
from suites.spec import Task


@dataclass(frozen=True)
class Facts:
    """What the quality of a task means: its primary metric at best, and with nothing learnt.

    ``unit`` names that metric, one of those that ``suites/train/metrics.py`` finds for the model:
    "squared error" or "nats", where lower is better; "accuracy" or "exact match", where higher is.
    An optimum that nobody knows (of real text) is NaN.
    """

    optimum: float
    baseline: float
    unit: str


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """Endless training batches; floats are float32, so every dtype starts from the same numbers.

    Dropout's masks come with them: kept with probability 1 - p, drawn anew for each batch.
    """
    made: Iterator[Batch] = importlib.import_module(f"suites.tasks.{task.name}.data").batches(task, seed)
    if task.model.dropout == 0:
        return made
    rng = seeds.generator(seed, task.name, "dropout")
    shape = (task.model.layers - 1, task.batch, task.length, task.model.width)
    return (batch._replace(masks=rng.random(shape) >= task.model.dropout) for batch in made)


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """What an evaluation reads, ``task.schedule.batches`` of it or all there is, in order from the start.

    Where the task is stateful, each batch goes on where the one before ended.
    """
    made: Iterator[Batch] = importlib.import_module(f"suites.tasks.{task.name}.data").held_out(task, seed)
    return islice(made, task.schedule.batches)


def facts(task: Task) -> Facts:
    """The task's known optimum and trivial baseline on its chosen data."""
    known: Facts = importlib.import_module(f"suites.tasks.{task.name}.data").facts(task)
    return known


def cast(batch: Batch, dtype: str) -> Batch:
    """The batch with its floats in ``dtype``; tokens, lengths and masks stay."""
    floats = {
        name: array.astype(dtype)
        for name, array in batch._asdict().items()
        if array is not None and array.dtype == np.float32
    }
    return batch._replace(**floats)
