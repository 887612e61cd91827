"""What level 5 keeps of a row's training: how far it was followed, its losses, and whether it repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from results.record import number
from suites.interface import Array, Arrays
from suites.parity.comparator import error
from suites.parity.reference import Step


@dataclass(frozen=True)
class Repeat:
    """The same training once more, in the same process, beside the first."""

    steps: int  # compared
    equal: bool  # to the bit: every loss, parameter, moment, carry
    difference: float = 0.0  # the largest of any tensor, relative
    tensor: str = ""  # which one
    step: int | None = None  # the first at which any bit differs

    def text(self) -> str:
        """How it does not repeat; nothing where it does."""
        if self.equal:
            return ""
        return f"not repeatable: by {self.difference:.0e} ({self.tensor}) from step {self.step} on"


@dataclass(frozen=True)
class Trajectory:
    """A row's training of level 5."""

    steps: int  # compared with the oracle
    of: int  # that the fixture has
    inside: int  # the steps before the first that is not within its tolerance
    horizon: int | None  # the first step at which the oracle's own float32 error passes HORIZON
    losses: tuple[float, ...]  # of every step compared, exact
    repeat: Repeat

    def record(self) -> dict[str, Any]:
        """As a parity record keeps it, beside what every level has."""
        repeat = asdict(self.repeat) | {"difference": number(self.repeat.difference)}
        return asdict(self) | {"losses": [number(loss) for loss in self.losses], "repeat": repeat}


def repeated(first: Sequence[Step], again: Sequence[Step]) -> Repeat:
    """Compare the bits of two trainings, as far as the second went."""
    largest, tensor, step = 0.0, "", None
    for k, (was, now) in enumerate(zip(first, again, strict=False), start=1):
        before, after = _tensors(was), _tensors(now)
        for name, value in before.items():
            if _bits(value) == _bits(after[name]):
                continue
            step = step or k
            size = error(after[name], value)
            size = size if np.isfinite(size) else np.inf
            if not tensor or size > largest:
                largest, tensor = size, name
    return Repeat(len(again), step is None, largest, tensor, step)


def _tensors(step: Step) -> Arrays:
    """All that was seen of a step, by name."""
    return {"loss": np.array(step.loss)} | step.params | step.optimiser | step.carry | step.inferred


def _bits(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, array.tobytes()
