"""Quality on held-out batches, in NumPy, from the logits of ``forward``.

squared_error   mean of (logits - targets)^2 over all elements
cross_entropy   nats  mean of -log softmax(logits)[target] over all predictions
                bits  nats / log 2            perplexity  exp(nats)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from suites import tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.spec import Task

Metrics = dict[str, float]


def squared_error(logits: Array, targets: Array) -> float:
    """Sum of (logits - targets)^2."""
    return float(((logits.astype(np.float64) - targets) ** 2).sum())


def cross_entropy(logits: Array, targets: Array) -> float:
    """Sum of -log softmax(logits)[target], in nats."""
    scores = logits.astype(np.float64)
    scores = scores - scores.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return float((np.log(np.exp(scores).sum(axis=-1)) - picked).sum())


def named_error(mean: float) -> Metrics:
    """The mean squared error under its name."""
    return {"squared error": mean}


def named_entropy(mean: float) -> Metrics:
    """Nats, bits and perplexity; a perplexity past the largest float is infinite."""
    return {
        "nats": mean,
        "bits": mean / math.log(2),
        "perplexity": math.exp(mean) if mean < 700 else math.inf,
    }


# by loss: the sum over a batch, and the names of its mean; the first name is the unit of tasks.facts
METRICS: dict[str, tuple[Callable[[Array, Array], float], Callable[[float], Metrics]]] = {
    "squared_error": (squared_error, named_error),
    "cross_entropy": (cross_entropy, named_entropy),
}


def evaluate(impl: Implementation, task: Task, dtype: str, held_out: Iterable[Batch]) -> Metrics:
    """The metrics over all held-out batches; where the task is stateful, the state goes on through them."""
    summed, named = METRICS[task.model.loss]
    zero = weights.cast(weights.carry(task, None), dtype)
    carry, total, count = zero, 0.0, 0
    for batch in held_out:
        answer = impl.forward(tasks.cast(batch, dtype), carry)
        with np.errstate(all="ignore"):  # logits that are no numbers give a metric that is none
            total += summed(answer["logits"], batch.targets)
        count += batch.targets.size
        carry = final(answer) if task.training.stateful else zero
    return named(total / count)


def final(answer: Arrays) -> Arrays:
    """The carry that ``forward`` ended with, as it takes one."""
    return {name.removeprefix("final."): value for name, value in answer.items() if name.startswith("final.")}
