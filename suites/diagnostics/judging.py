"""Curves beside the oracle's: how well conditioned each point is, and how far it may be off.

A point of a curve is the norm of a tensor, a gradient; or the curve is one tensor, and its entries are the
points. The rules are the gate's, and so they speak of tensors. float64: constant x u x kappa; float32:
factor x the oracle's own float32 error + roundoffs x u. kappa and that error are measured, tensor by tensor,
as the gate measures them: on draws in which every weight, carry and float input has moved by one ulp
(``suites/parity/reference.py``). What holds for a tensor holds for its norm, which is never farther off:
| ||a|| - ||b|| | <= ||a - b||. The other way round it would not do: of many roundings most cancel in a norm,
and a framework whose tanh errs to one side would be asked for more than the gate asks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from results.record import number
from suites.interface import Array, Arrays, Implementation
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, oracle
from suites.parity.reference import perturbed
from suites.parity.tolerances import (
    DRAWS,
    HORIZON,
    KAPPA_LIMIT,
    OPTIMISER_STEPS,
    beside_oracle,
    conditioned,
    constant,
)
from suites.precision import roundoff
from suites.spec import Task

Tensors = dict[str, list[Array]]
"""By curve the tensor at each point; of a curve that is one tensor, just that."""

Ask = Callable[[Implementation, Fixture, str], Tensors]
"""The tensors of an implementation on a fixture, in float64 from what the row's dtype gave."""


@dataclass(frozen=True)
class Case:
    """One question of a diagnostic: its curves, and what the points of a curve stand for."""

    name: str  # "scale 0.5"
    fixture: Fixture
    at: list[int]  # the abscissa [n]
    at_name: str  # what it counts
    labels: dict[str, list[int]]  # further columns [n]


@dataclass(frozen=True)
class Diagnostic:
    """One diagnostic: which cases it has, and how an implementation is asked."""

    name: str
    task: str  # the task of ``suites/tasks`` whose gate covers what is asked
    question: Callable[[str], Task]  # of a cell: that task, as it is asked here
    cells: tuple[str, ...]  # where none is selected
    cases: Callable[[str, int, list[float]], list[Case]]  # of a cell, a seed and the scales
    ask: Ask
    trains: bool = False  # then the constant of training holds, and curves end at the horizon
    whole: bool = False  # a curve is one tensor (coordinates), else a point is the norm of one

    def curves(self, tensors: Tensors) -> Arrays:
        """The values of each curve, [n]."""
        if self.whole:
            return {name: tensor for name, (tensor,) in tensors.items()}
        return {
            name: np.array([np.linalg.norm(tensor) for tensor in points]) for name, points in tensors.items()
        }


@dataclass(frozen=True)
class Seen:
    """How far curves are from the oracle's."""

    difference: float  # the largest of all judged points, relative
    ratio: float  # the largest of difference / tolerance: above 1, or NaN, they are not the oracle's
    judged: int  # points, or wholes
    points: int


@dataclass(frozen=True)
class Reference:
    """The oracle's answer to a case, with the conditioning and the float32 error of every point."""

    diagnostic: Diagnostic
    case: Case

    @cached_property
    def tensors(self) -> Tensors:
        """The oracle's, in float64."""
        return self._ask(self.case.fixture, "float64")

    @cached_property
    def curves(self) -> Arrays:
        """Likewise."""
        return self.diagnostic.curves(self.tensors)

    @cached_property
    def kappa(self) -> Arrays:
        """By curve the condition number of each point, or of the whole."""
        # Training is measured as ``training_kappa`` is: a float64 ulp would drown in rounding.
        dtype = "float32" if self.diagnostic.trains else "float64"
        found = self._envelope(errors(self._exact(d, dtype), self.tensors) for d in range(DRAWS))
        return {name: values / roundoff(dtype) for name, values in found.items()}

    @cached_property
    def strayed(self) -> Arrays:
        """By curve the oracle's own float32 error at each point, or of the whole."""
        draws = [perturbed(self.case.fixture, d, "float32") for d in range(DRAWS)]
        return self._envelope(
            errors(self._ask(draw, "float32"), self._exact(d, "float32")) for d, draw in enumerate(draws)
        )

    def tolerances(self, dtype: str) -> dict[str, list[float | None]]:
        """By curve the tolerance of each point, or of the whole [1]; None where nothing can be told: past
        the gate's limit of conditioning or, of training in float32, past its horizon."""
        rule = conditioned if dtype == "float64" else beside_oracle
        measured = self.kappa if dtype == "float64" else self.strayed
        more = {"constant": self._constant(dtype)}
        found: dict[str, list[float | None]] = {}
        for name, values in measured.items():
            of = rule({str(k): float(value) for k, value in enumerate(values)}, **more)
            told = self._told(name, dtype)
            found[name] = [of(str(k)).value if told[k] else None for k in range(len(values))]
        return found

    def rule(self, dtype: str) -> str:
        """The rule behind the tolerances, in words."""
        factor, plus = constant(f"{dtype}.{self._constant(dtype)}"), constant(f"{dtype}.roundoffs")
        if dtype == "float64":
            return f"{factor:g} u kappa"
        return f"{factor:g} x the oracle's own float32 error + {plus:g} u"

    def _constant(self, dtype: str) -> str:
        """Of training, what the gate holds a trajectory to."""
        if dtype == "float64":
            return "training" if self.diagnostic.trains else "roundoffs"
        return "trajectory" if self.diagnostic.trains else "factor"

    def record(self, got: Arrays, dtype: str) -> dict[str, Any]:
        """The case as a record keeps it: an implementation's curves beside the oracle's."""
        tolerances, case = self.tolerances(dtype), self.case
        curves = [
            {
                "curve": name,
                "values": [number(value) for value in got[name]],
                "reference": [float(value) for value in want],
                "tolerance": tolerances[name],
            }
            for name, want in self.curves.items()
        ]
        known = {"case": case.name, "at": case.at, "at_name": case.at_name, "labels": case.labels}
        return known | {"digest": case.fixture.digest(), "rule": self.rule(dtype), "curves": curves}

    def seen(self, got: Arrays, dtype: str) -> Seen:
        """How far an implementation's curves are from the oracle's, over all points that can be judged."""
        found = np.concatenate([self._off(got[name], want) for name, want in self.curves.items()])
        tolerances = np.concatenate([np.array(t, float) for t in self.tolerances(dtype).values()])
        told = ~np.isnan(tolerances)  # None is NaN
        ratios = found[told] / tolerances[told]
        return Seen(
            float(found[told].max(initial=0.0)), float(ratios.max(initial=0.0)), int(told.sum()), told.size
        )

    def _told(self, name: str, dtype: str) -> Array:
        """At which points of a curve a difference tells anything."""
        if not self.diagnostic.trains:
            return self.kappa[name] <= KAPPA_LIMIT
        if dtype == "float64":
            return np.ones(len(self.kappa[name]), bool)
        return self.strayed[name] <= HORIZON

    def _ask(self, fixture: Fixture, dtype: str) -> Tensors:
        return self.diagnostic.ask(oracle(fixture.task, dtype), fixture, dtype)

    def _exact(self, draw: int, dtype: str) -> Tensors:
        """The oracle in float64 on a draw; those of float32's ulp serve twice."""
        key = draw, dtype
        if key not in self._drawn:
            self._drawn[key] = self._ask(perturbed(self.case.fixture, draw, dtype), "float64")
        return self._drawn[key]

    @cached_property
    def _drawn(self) -> dict[tuple[int, str], Tensors]:
        return {}

    def _off(self, got: Array, want: Array) -> Array:
        """The relative difference of each point of a curve; of one that is judged whole [1]."""
        pairs = [(got, want)] if self.diagnostic.whole else zip(got, want, strict=True)
        return np.array([error(*pair) for pair in pairs])

    def _envelope(self, draws: Iterator[Arrays]) -> Arrays:
        """The largest of all draws and of all points up to there, for an error is carried on; the first
        points have each other's, as a few draws of one point alone are at times all lucky."""
        many = list(draws)
        largest = {name: np.max([draw[name] for draw in many], axis=0) for name in many[0]}
        for values in largest.values():
            values[:OPTIMISER_STEPS] = values[:OPTIMISER_STEPS].max()
        return {name: np.maximum.accumulate(values) for name, values in largest.items()}


def errors(got: Tensors, want: Tensors) -> Arrays:
    """By curve the error of each tensor, the gate's."""
    return {
        name: np.array([error(*pair) for pair in zip(got[name], points, strict=True)])
        for name, points in want.items()
    }
