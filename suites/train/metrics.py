"""Quality on held-out batches, in NumPy: means over valid predictions only.

From the logits z of ``forward``, nothing dropped, and the targets y:

squared_error         squared error  (z - y)^2
cross_entropy         nats           -log softmax(z)[y]                     accuracy  argmax z = y
binary_cross_entropy  nats           -y log s(z) - (1 - y) log(1 - s(z))    accuracy  (z > 0) = y

A language model has also bits = nats / log 2 and perplexity = exp(nats). A decoder's accuracy is
called *token accuracy*, for the gold tokens are before it (teacher forcing); *exact match* is the
share of sequences that greedy decoding gets right, every token up to and with EOS.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from results.errors import UserError
from suites import tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.spec import Model, Task

Metrics = dict[str, float]


def squared_error(logits: Array, targets: Array) -> Arrays:
    """(z - y)^2, shaped as the targets."""
    return {"squared error": (logits - targets) ** 2}


def cross_entropy(logits: Array, targets: Array) -> Arrays:
    """-log softmax(z)[y] in nats, and whether the largest logit is the target's, shaped as the targets."""
    scores = logits - logits.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    nats = np.log(np.exp(scores).sum(axis=-1)) - picked
    return {"nats": nats, "accuracy": logits.argmax(axis=-1) == targets}


def binary_cross_entropy(logits: Array, targets: Array) -> Arrays:
    """log(1 + exp(-z)) where y = 1, log(1 + exp(z)) where y = 0, in nats, and whether z has y's sign."""
    return {
        "nats": np.logaddexp(0, (1 - 2 * targets) * logits),
        "accuracy": (logits > 0) == (targets > 0.5),
    }


# by loss: its metrics, prediction by prediction
MEASURES: dict[str, Callable[[Array, Array], Arrays]] = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def evaluate(
    impl: Implementation, task: Task, dtype: str, held_out: Iterable[Batch], primary: str
) -> Metrics:
    """Every metric of the model over all held-out batches, the primary one first.

    Where the task is stateful, the state goes on through the batches. Raises UserError
    where the model has no metric of the primary's name.
    """
    zero = weights.cast(weights.carry(task, None), dtype)
    carry, parts = zero, defaultdict[str, list[Array]](list)
    for batch in held_out:
        batch = tasks.cast(batch._replace(masks=None), dtype)
        answer = impl.forward(batch, carry)
        for name, values in measured(impl, task.model, batch, answer["logits"]).items():
            parts[name].append(values)
        carry = final(answer) if task.training.stateful else zero
    found = {name: float(np.concatenate(values).mean()) for name, values in parts.items()}
    if task.model.generates and task.model.wiring == "encoder":
        found |= per_token(found["nats"])
    if primary not in found:
        raise UserError(
            f"task {task.name}: facts: expected a unit out of {', '.join(found)}, got {primary!r}. "
            f"See suites/train/metrics.py."
        )
    return {primary: found[primary], **found}


def measured(impl: Implementation, model: Model, batch: Batch, logits: Array) -> Arrays:
    """The metrics over one batch, [n] each: a value a valid prediction; of exact match, a sequence."""
    within = valid(model, batch)
    with np.errstate(all="ignore"):  # logits that are no numbers give a metric that is none
        found = MEASURES[model.loss](logits.astype(np.float64), batch.targets)
    found = {name: values[within] for name, values in found.items()}
    if model.wiring != "encoder":
        found["token accuracy"] = found.pop("accuracy")
        tokens = impl.fetch(impl.decode(impl.place(batch), batch.targets.shape[1]))  # [B, S]
        found["exact match"] = ((tokens == batch.targets) | ~within).all(axis=1)
    return found


def valid(model: Model, batch: Batch) -> Array:
    """Which targets count, shaped as they are: all, or those within their sequence."""
    lengths = batch.lengths if model.wiring == "encoder" else batch.target_lengths
    if model.head == "final" or lengths is None:
        return np.ones(batch.targets.shape, bool)
    steps = np.arange(batch.targets.shape[1]) < lengths[:, None]  # [B, T]
    more = (1,) * (batch.targets.ndim - 2)
    return np.broadcast_to(steps.reshape(*steps.shape, *more), batch.targets.shape)


def per_token(nats: float) -> Metrics:
    """Bits and perplexity; a perplexity past the largest float is infinite."""
    return {"bits": nats / math.log(2), "perplexity": math.exp(nats) if nats < 700 else math.inf}


def final(answer: Arrays) -> Arrays:
    """The carry that ``forward`` ended with, as it takes one."""
    return {name.removeprefix("final."): value for name, value in answer.items() if name.startswith("final.")}
