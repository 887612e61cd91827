"""Samples of one row. Run by ``python -m suites.bench``, in a fresh process for each row and pass.

A training step is forward, backward, clip and optimiser, the batch already on
the device; inference is the logits from a zero state; decoding, where the task generates,
is greedy, token by token. Nothing is transferred.
"""

from __future__ import annotations

import statistics
from typing import Any

from suites.bench.group import Group
from suites.bench.turns import Child

# Samples of a block: those of one turn are alike (within 6 %, where turns of a row scatter by 15 %), so more
# of them tell less than more turns do, which cost 0.1 s each.
ROUNDS, FLOOR_ROUNDS = 2, 1


def test_samples(
    block: int, what: str, group: Group, turns: Child, blocks: list[dict[str, Any]], benchmark: Any
) -> None:
    another_worked = turns.take(block)
    sample = group.target(what)
    if another_worked:
        sample.run_in()
    iterations = group.iterations[what]
    benchmark.group = what
    benchmark.extra_info.update(group.question.row.record())
    seconds = sample.measured(benchmark, ROUNDS if what in group.calls else FLOOR_ROUNDS)
    if block == 0:  # how it waits does not change from block to block
        sample.prove_sync(iterations * statistics.median(seconds))
    blocks.append({"what": what, "block": block, "iterations": iterations, "seconds": seconds})
