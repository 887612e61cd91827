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
from suites.interface import Array, Arrays
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, oracle

H = 1e-30
TOLERANCE = 1e-12
"""The design's bound. Largest seen over both tasks and four cells: 2.9e-15 (adding, rnn, kappa 82)."""


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
    carry = weights.cast(fixture.carries["random"], "float64")
    impl.load(params)
    claimed = impl.gradients(batch, carry)
    loss = complex_loss(fixture, batch.targets)
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


def complex_loss(fixture: Fixture, targets: Array) -> Callable[[Arrays, Array, Arrays], Any]:
    """The oracle's loss as a function that takes complex arrays."""
    package, model = find("numpy").package, fixture.task.model
    forward = importlib.import_module(f"{package}.scratch").forward
    criterion = importlib.import_module(f"{package}.training").LOSSES[model.loss]

    def loss(params: Arrays, inputs: Array, carry: Arrays) -> Any:
        logits, *_ = forward(params, inputs, tuple(carry.values()), model)
        return criterion(logits, targets)[0]

    return loss
