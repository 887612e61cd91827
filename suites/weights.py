"""Canonical parameters and carries: their names, their shapes, their first values."""

from __future__ import annotations

import numpy as np

from suites import seeds
from suites.interface import Arrays
from suites.spec import GATES, Model, Task

Shapes = dict[str, tuple[int, ...]]


def shapes(model: Model) -> Shapes:
    """The parameters of the model, in canonical order, with their shapes."""
    G, H, I, O = GATES[model.cell], model.hidden, model.input_width, model.outputs  # noqa: E741
    found: Shapes = {}
    if model.inputs == "tokens":
        found["embed"] = (model.vocabulary, model.embedding)
    found["encoder.0.fwd.W_xh"] = (I, G * H)
    found["encoder.0.fwd.W_hh"] = (H, G * H)
    found["encoder.0.fwd.b_h"] = (G * H,)
    if model.cell == "gru":
        found["encoder.0.fwd.b_hn"] = (H,)
    found["head.W_hq"] = (H, O)
    found["head.b_q"] = (O,)
    return found


def initial(task: Task, seed: int, scale: float = 1.0) -> Arrays:
    """float32 parameters, every one U(-scale/sqrt(H), scale/sqrt(H)), biases too.

    The bound is that of torch's recurrent layers; a bias at zero would hide its loss.
    """
    bound = scale / float(np.sqrt(task.model.hidden))
    return {
        name: seeds.uniform(seeds.generator(seed, task.name, "weights", name), -bound, bound, shape).astype(
            np.float32
        )
        for name, shape in shapes(task.model).items()
    }


def carry(task: Task, seed: int | None) -> Arrays:
    """The initial state [B, H]: zeros where ``seed`` is None, else U(-1/2, 1/2), float32."""
    shape = (task.batch, task.model.hidden)
    parts = ("h", "c") if task.model.cell == "lstm" else ("h",)
    if seed is None:
        return {f"encoder.0.fwd.{part}": np.zeros(shape, np.float32) for part in parts}
    return {
        f"encoder.0.fwd.{part}": seeds.uniform(
            seeds.generator(seed, task.name, "carry", part), -0.5, 0.5, shape
        ).astype(np.float32)
        for part in parts
    }


def cast(arrays: Arrays, dtype: str) -> Arrays:
    """The same numbers in ``dtype``."""
    return {name: array.astype(dtype) for name, array in arrays.items()}
