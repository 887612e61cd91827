"""What the ladder puts its expectations together from, and takes answers apart with."""

from __future__ import annotations

import numpy as np

from suites.interface import Arrays
from suites.parity.tolerances import Rule, Tolerance
from suites.spec import Task


def fresh_optimiser(task: Task, params: Arrays) -> Arrays:
    """What ``dump_optimiser`` gives right after ``load``."""
    moments = ("m.", "v.") if task.training.optimiser == "adam" else ()
    zeros = {moment + name: np.zeros_like(value) for moment in moments for name, value in params.items()}
    return {"step": np.array(0, np.int64), **zeros}


def write_over(arrays: Arrays) -> None:
    """Other numbers in every array that can be written to, to see who else holds it."""
    for array in arrays.values():
        if getattr(array, "flags", None) is not None and array.flags.writeable:
            array[...] = 7


def exact(origin: str) -> Rule:
    """Nothing but equality passes."""
    return lambda name: Tolerance(0.0, origin)


def scalars(want: float, got: float, dtype: str) -> tuple[Arrays, Arrays]:
    """Two losses as :func:`~suites.parity.comparator.compare` takes them."""
    return {"loss": np.array(want, np.float64)}, {"loss": np.array(got, dtype)}


def split(optimiser: Arrays) -> tuple[Arrays, Arrays]:
    """The count of an optimiser's state, and its moments."""
    moments = {name: value for name, value in optimiser.items() if name != "step"}
    return {name: optimiser[name] for name in optimiser.keys() - moments.keys()}, moments
