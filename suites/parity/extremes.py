"""Questions at the rim of what is allowed, which no batch of a task happens to ask."""

from __future__ import annotations

import numpy as np

from suites import tasks, weights
from suites.interface import Arrays, Batch
from suites.parity.fixtures import Fixture

Cases = dict[str, tuple[Batch, Arrays]]  # a batch and the carry that it starts from
EXTREMES = "lengths from 1 to the longest"


def extremes(fixture: Fixture, dtype: str) -> Cases:
    """What levels 1 to 3 ask besides, where there are lengths: of one row the longest, of another 1.

    What stood in the padding of the first, PAD, is then a token as any other.
    """
    batch = fixture.batches[0]
    changed = {}
    for name, width in (("lengths", fixture.task.length), ("target_lengths", fixture.task.target_length)):
        lengths = getattr(batch, name)
        if lengths is not None:
            rows = lengths.argsort(kind="stable")  # of different rows, even where all are as long
            changed[name] = lengths.copy()
            changed[name][rows[-1]] = 1
            changed[name][rows[0]] = width
    carry = weights.cast(fixture.start, dtype)
    return {EXTREMES: (tasks.cast(batch._replace(**changed), dtype), carry)} if changed else {}


def still(fixture: Fixture) -> tuple[Arrays, Batch] | None:
    """Weights and a batch whose gradient is zero, where a loss can be: a step must leave all as it is."""
    if fixture.task.model.loss != "squared_error":
        return None
    batch = fixture.batches[0]
    head = {name: np.zeros_like(fixture.params[name]) for name in ("head.W_hq", "head.b_q")}
    return fixture.params | head, batch._replace(targets=np.zeros_like(batch.targets))
