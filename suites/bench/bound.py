"""What bounds a row on a GPU: its matrix products, or the bytes that must move between memory and chip.

Small products of a fast card end before its memory has delivered their operands. So there the floor is
the larger of two times: of the products (``floor.py``), and of a copy that moves as many bytes as no
implementation can do without, each read or written once:

    train    parameters read and written, with Adam both moments too; the batch; of every valid step what
             backpropagation must find kept (VECTORS), written and read
    infer    parameters, of an embedding the rows that can be asked for; inputs; logits
    decode   the same, its tokens in place of logits

Which is larger is measured once, where the row is built, by the framework's own means.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suites import precision, weights
from suites.bench import floor
from suites.interface import Batch
from suites.spec import Task

# By cell, of each layer, direction, sequence and step, in vectors of H: reports/scaling.py says which.
VECTORS = {"rnn": 1, "lstm": 6, "gru": 5, "gru_reset_before": 4}
TOKEN = 4  # bytes
NARROW = {"bf16": 2}  # bytes of what is kept and answered, where it may be narrower than the parameters
TRIES, CALLS = 5, 10


def traffic(task: Task, dtype: str, what: str, batches: Sequence[Batch], decoded: int = 0) -> int:
    """Bytes that one iteration of this work must move, in the mean over the batches."""
    wide = np.dtype(precision.kept(dtype)).itemsize
    narrow = NARROW.get(dtype, wide)
    T, S = floor.valid_lengths(task, batches)
    read = sum(_bytes(batch.inputs, wide) for batch in batches) / len(batches)
    shapes = weights.shapes(task.model)
    if what == "train":
        times = 6 if task.training.optimiser == "adam" else 2
        read += sum(_bytes(batch.targets, wide) for batch in batches) / len(batches)
        moved = times * wide * sum(map(math.prod, shapes.values())) + 2 * narrow * _kept(task, T, S)
        return round(moved + read)
    rows = task.batch * (decoded if what == "decode" else max(T, S))
    parameters = sum(_asked(name, shape, rows) for name, shape in shapes.items())
    answered = task.batch * decoded * TOKEN if what == "decode" else narrow * _logits(task, T, S)
    return round(wide * parameters + read + answered)


def seconds(run: Callable[[], Any], wait: Callable[[Any], None]) -> float:
    """Of one call among several, the last of which is waited for; the median of a few tries, after one that
    is not timed."""
    found = []
    for _ in range(1 + TRIES):
        began = time.perf_counter()
        for _ in range(CALLS):
            answer = run()
        wait(answer)
        found.append((time.perf_counter() - began) / CALLS)
    return statistics.median(found[1:])


def _bytes(array: Any, wide: int) -> int:
    """Of floats and tokens as a device holds them."""
    return int(array.size) * (wide if array.dtype.kind == "f" else TOKEN)


def _kept(task: Task, T: int, S: int) -> int:
    """Numbers that backpropagation finds kept."""
    model = task.model
    steps = T * len(model.directions) + S
    return task.batch * model.layers * steps * VECTORS[model.cell] * model.hidden


def _logits(task: Task, T: int, S: int) -> int:
    """Numbers of the answer."""
    return task.batch * task.model.outputs * ((S or T) if task.model.head == "every" else 1)


def _asked(name: str, shape: tuple[int, ...], rows: int) -> int:
    """Numbers of a parameter that are read: of an embedding no more rows than tokens."""
    if name.endswith("embed"):
        return min(shape[0], rows) * shape[1]
    return math.prod(shape)
