"""The questions the gate asks: weights, carries and batches that can see.

Distinct random weights, every bias non-zero, a random carry, padding that can be
poisoned, and a clip threshold between the gradient norms of the first steps, so that
clipping is active at one and idle at another. ``tests/parity/test_fixtures.py`` proves
each property.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import numpy as np

from results.errors import UserError
from suites import seeds, tasks, weights
from suites.implementations import builder, find
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity.tolerances import OPTIMISER_STEPS, STEPS
from suites.spec import Model, Task

SCALE = 2.0  # of suites/weights.py's bound: as far out as trained ones, so that h0, tanh c and gates matter
CLIP_MARGIN = (
    1.001  # norms of the first steps must differ by this: an active clip then moves g by 5e-4 or more
)
POISON = 1e30  # an embedding that nothing valid has: its square is beyond float32


@dataclass(frozen=True)
class Fixture:
    """What one row is asked; every float is float32, so that both dtypes start from the same numbers."""

    task: Task  # with the fixture's clip threshold
    seed: int
    params: Arrays
    carries: dict[str, Arrays]  # "zero" and "random"; a lone decoder, which has none, is asked once
    batches: tuple[Batch, ...]  # STEPS of them

    @property
    def start(self) -> Arrays:
        """The carry that is no zero, where there is one."""
        return self.carries.get("random", self.carries["zero"])

    def digest(self) -> str:
        """SHA-256 of every array, in a fixed order: level 0's data and weights."""
        arrays = [self.params[name] for name in sorted(self.params)]
        arrays += [carry[name] for _, carry in sorted(self.carries.items()) for name in sorted(carry)]
        arrays += [array for batch in self.batches for array in batch if array is not None]
        return seeds.digest(*arrays)


@lru_cache(maxsize=2)
def make(task: Task, seed: int) -> Fixture:
    """The fixture of a task and a seed. Raises UserError where no clip threshold can be both."""
    return around(task, seed, islice(tasks.batches(task, seed), STEPS))


def around(task: Task, seed: int, batches: Iterable[Batch]) -> Fixture:
    """The fixture of these batches, every second with other values in its padding. Raises as :func:`make`."""
    carries = {"zero": weights.carry(task, None), "random": weights.carry(task, seed)}
    if not carries["random"]:
        del carries["random"]
    seen = tuple(repadded(batch, task.model)[0] if k % 2 else batch for k, batch in enumerate(batches))
    fixture = Fixture(task, seed, weights.initial(task, seed, SCALE), carries, seen)
    return replace(fixture, task=_with_clip(task, _threshold(fixture)))


def oracle(task: Task, dtype: str = "float64") -> Implementation:
    """A fresh NumPy implementation of the task: in float64, the oracle."""
    return builder(find("numpy"), "scratch")(task, dtype, "cpu")


def norms(fixture: Fixture, optimiser: str, steps: int = OPTIMISER_STEPS) -> list[float]:
    """The global gradient norm before each of the first steps, along the oracle's own training."""
    training = replace(fixture.task.training, optimiser=optimiser)
    impl = oracle(replace(fixture.task, training=training))
    impl.load(weights.cast(fixture.params, "float64"), weights.cast(fixture.start, "float64"))
    found = []
    for batch in fixture.batches[:steps]:
        batch = tasks.cast(batch, "float64")
        grads = impl.gradients(batch, impl.dump_carry())
        found.append(float(np.sqrt(sum((grads[name] ** 2).sum() for name in fixture.params))))
        impl.step(impl.place(batch))
    return found


def counted(batch: Batch, model: Model) -> Array | None:
    """The lengths [B] of what the loss counts; None where it counts everything."""
    if model.head == "final":
        return None
    return batch.lengths if model.wiring == "encoder" else batch.target_lengths


def poisoned(fixture: Fixture) -> Fixture | None:
    """The fixture with other legal tokens in the first batch's padding; None where nothing is padded.

    Where a token stands nowhere valid, it is among them, and its embedding is POISON. Every
    answer must stay.
    """
    batch, strange = repadded(fixture.batches[0], fixture.task.model)
    if batch is fixture.batches[0]:
        return None
    params = dict(fixture.params)
    for embed, token in strange.items():
        params[embed] = params[embed].copy()
        params[embed][token] = POISON
    return replace(fixture, params=params, batches=(batch, *fixture.batches[1:]))


def repadded(batch: Batch, model: Model) -> tuple[Batch, dict[str, int]]:
    """The batch with other legal values in its padding; of each embedding, a token that stands only there."""
    places = (
        ("inputs", batch.lengths, "embed", model.vocabulary),
        ("decoder_inputs", batch.target_lengths, "decoder.embed", model.outputs),
        ("targets", counted(batch, model), "", model.outputs),
    )
    others: dict[str, Array] = {}
    only_there: dict[str, int] = {}
    for name, lengths, embed, tokens in places:
        if lengths is not None:
            others[name], strange = _others(getattr(batch, name), lengths, tokens)
            if embed and strange is not None:
                only_there[embed] = strange
    return (batch._replace(**others) if others else batch), only_there


def _others(array: Array, lengths: Array, tokens: int) -> tuple[Array, int | None]:
    """The array [B, T, ...] with other legal values beyond the lengths, and the token that stands only there.

    Of tokens, every second is that one, from the first step of padding on.
    """
    beyond = np.arange(array.shape[1]) - lengths[:, None]  # [B, T], steps into the padding
    if array.dtype.kind == "f":
        padding = (beyond >= 0).reshape(*beyond.shape, *[1] * (array.ndim - 2))
        return np.where(padding, 1 - array, array), None
    absent = np.setdiff1d(np.arange(tokens), array[beyond < 0])
    strange = int(absent[-1]) if absent.size and beyond.max() >= 0 else None
    other = (array + 1) % tokens
    if strange is not None:
        other[beyond % 2 == 0] = strange
    return np.where(beyond >= 0, other, array).astype(array.dtype), strange


def _threshold(fixture: Fixture) -> float:
    """Between the smallest and the largest norm of the first steps, unclipped."""
    idle = replace(fixture, task=_with_clip(fixture.task, float("inf")))
    found = norms(idle, fixture.task.training.optimiser)
    if max(found) < CLIP_MARGIN * min(found):
        raise UserError(
            f"seed {fixture.seed}, task {fixture.task.name}: expected gradient norms of the first steps that "
            f"differ by 0.1 %, so that clipping is active and idle, got {found}. Choose another --seed."
        )
    return float(np.sqrt(max(found) * min(found)))


def _with_clip(task: Task, clip: float) -> Task:
    return replace(task, training=replace(task.training, clip=clip))
