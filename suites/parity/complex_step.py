"""Derivatives without subtraction: f'(x) = Im f(x + i h) / h, exact to rounding for h = 1e-30.

W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real
functions", SIAM Review 40 (1998). It proves the oracle's hand-written backward
pass from its forward pass alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from suites import tasks, weights
from suites.implementations import find
from suites.interface import Array, Arrays, Batch
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, counted, oracle
from suites.spec import Model

H = 1e-30
TOLERANCE = 1e-12
"""The design's bound. Largest seen over all tasks and their cells: 2.1e-15 (adding, rnn, kappa 85)."""


def derivative(f: Callable[[Array], Any], x: Array) -> Array:
    """df/dx for a real-valued f of the array x, one element at a time."""
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        z = x.astype(np.complex128)
        z[index] += 1j * H
        found[index] = np.imag(f(z)) / H
    return found


def errors(fixture: Fixture) -> dict[str, float]:
    """The error of every gradient of the oracle against its complex-step derivative, per tensor."""
    impl = oracle(fixture.task)
    params = weights.cast(fixture.params, "float64")
    batch = tasks.cast(fixture.batches[0], "float64")
    carry = weights.cast(fixture.start, "float64")
    impl.load(params)
    claimed = impl.gradients(batch, carry)
    loss = complex_loss(fixture.task.model, batch)
    proven = {}
    for name, w in params.items():
        proven[name] = derivative(partial(_at, lambda z: loss(z, batch.inputs, carry), params, name), w)
    for name, part in carry.items():
        proven["carry." + name] = derivative(
            partial(_at, lambda z: loss(params, batch.inputs, z), carry, name), part
        )
    if fixture.task.model.inputs == "features":
        proven["inputs"] = derivative(lambda z: loss(params, z, carry), batch.inputs)
    if set(claimed) != set(proven):
        raise AssertionError(f"gradients {sorted(claimed)} are not those to prove, {sorted(proven)}")
    return {name: error(claimed[name], value) for name, value in proven.items()}


def _at(f: Callable[[Arrays], Any], arrays: Arrays, name: str, z: Array) -> Any:
    """f of the arrays with one of them replaced by z."""
    return f(arrays | {name: z})


def complex_loss(model: Model, batch: Batch) -> Callable[[Arrays, Array, Arrays], Any]:
    """The oracle's loss on the batch as a function of (parameters, inputs, carry), complex ones too."""
    package = find("numpy").package
    scratch = importlib.import_module(f"{package}.scratch")
    criterion = importlib.import_module(f"{package}.training").LOSSES[model.loss]
    lengths = counted(batch, model)
    valid = None if lengths is None else scratch.within(lengths, batch.targets.shape[1])

    def loss(params: Arrays, inputs: Array, carry: Arrays) -> Any:
        layers = dict.fromkeys(name.rpartition(".")[0] for name in carry)
        state = {at: tuple(carry[f"{at}.{part}"] for part in model.parts) for at in layers}
        logits, *_ = scratch.forward(params, batch._replace(inputs=inputs), state, model)
        return criterion(logits, batch.targets, valid)[0]

    return loss
