"""Canonical parameters and carries: their names, their shapes, their first values."""

from __future__ import annotations

import numpy as np

from suites import seeds
from suites.interface import Arrays
from suites.spec import GATES, Model, Task

Shapes = dict[str, tuple[int, ...]]


def shapes(model: Model) -> Shapes:
    """The parameters of the model, in canonical order, with their shapes."""
    H, E, O = model.hidden, model.embedding, model.outputs  # noqa: E741
    found: Shapes = {}
    if model.inputs == "tokens":
        found["embed"] = (model.vocabulary, E)
    if model.wiring != "decoder":
        for k in range(model.layers):
            for direction in model.directions:
                found |= _layer(
                    model, f"encoder.{k}.{direction}", model.input_width if k == 0 else model.width
                )
    else:
        found |= {"bridge.W_xh": (model.features, H), "bridge.b_h": (H,)}
    if model.wiring != "encoder":
        found["decoder.embed"] = (O, E)
        for k in range(model.layers):
            found |= _layer(model, f"decoder.{k}.fwd", E if k == 0 else H)
    found["head.W_hq"] = (model.width, O)
    found["head.b_q"] = (O,)
    return found


def initial(task: Task, seed: int, scale: float = 1.0) -> Arrays:
    """float32 parameters, every one U(-scale/sqrt(H), scale/sqrt(H)), biases too.

    The bound is that of torch's recurrent layers; a bias at zero would hide its loss. What the bridge
    takes in is F wide and not H, and its bound is scale/sqrt(F), that of torch's linear layers: with the
    other, states began at 1 - 1e-7, where 1 - h^2 is rounding and little else.
    """
    found: Arrays = {}
    for name, shape in shapes(task.model).items():
        width = task.model.features if name.startswith("bridge.") else task.model.hidden
        bound = scale / float(np.sqrt(width))
        rng = seeds.generator(seed, task.name, "weights", name)
        found[name] = seeds.uniform(rng, -bound, bound, shape).astype(np.float32)
    return found


def carry(task: Task, seed: int | None) -> Arrays:
    """The initial state, [B, H] a part: zeros where ``seed`` is None, else U(-1/2, 1/2), float32.

    A decoder alone starts from its features: it has none.
    """
    model, shape = task.model, (task.batch, task.model.hidden)
    names = [
        f"encoder.{k}.{direction}.{part}"
        for k in range(0 if model.wiring == "decoder" else model.layers)
        for direction in model.directions
        for part in model.parts
    ]
    if seed is None:
        return {name: np.zeros(shape, np.float32) for name in names}
    return {
        name: seeds.uniform(seeds.generator(seed, task.name, "carry", name), -0.5, 0.5, shape).astype(
            np.float32
        )
        for name in names
    }


def cast(arrays: Arrays, dtype: str) -> Arrays:
    """The same numbers in ``dtype``."""
    return {name: array.astype(dtype) for name, array in arrays.items()}


def _layer(model: Model, name: str, width: int) -> Shapes:
    """One layer in one direction, ``width`` its inputs'."""
    G, H = GATES[model.cell], model.hidden
    found: Shapes = {f"{name}.W_xh": (width, G * H), f"{name}.W_hh": (H, G * H), f"{name}.b_h": (G * H,)}
    if model.cell == "gru":
        found[f"{name}.b_hn"] = (H,)
    return found
