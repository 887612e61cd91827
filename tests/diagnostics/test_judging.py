"""A curve that is not the oracle's is found, one within rounding passes, one past telling is not judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from suites.diagnostics import judging
from suites.diagnostics.clipping import CLIPPING
from suites.diagnostics.distance import DISTANCE
from suites.diagnostics.judging import Reference
from suites.diagnostics.pca import components
from suites.diagnostics.states import STATES
from suites.interface import Arrays
from suites.parity.fixtures import oracle
from suites.parity.tolerances import constant, roundoff


class Wrong:
    """The oracle with one answer changed."""

    def __init__(self, impl: Any, name: str, change: Callable[[Any], Any]) -> None:
        self.impl, self.name, self.change = impl, name, change

    def __getattr__(self, name: str) -> Any:
        if name != self.name:
            return getattr(self.impl, name)
        return lambda *given: self.change(getattr(self.impl, name)(*given))


def reference_of(diagnostic: judging.Diagnostic, cell: str) -> Reference:
    return Reference(diagnostic, diagnostic.cases(cell, 0, [1.0])[0])


@pytest.fixture(scope="module")
def distance() -> Reference:
    return reference_of(DISTANCE, "rnn")


@pytest.fixture(scope="module")
def clipping() -> Reference:
    diagnostic = replace(CLIPPING, cases=lambda *asked: [short(CLIPPING.cases(*asked)[0])])
    return reference_of(diagnostic, "rnn")


def short(case: judging.Case) -> judging.Case:
    """The first 20 steps."""
    return replace(case, at=case.at[:20], fixture=replace(case.fixture, batches=case.fixture.batches[:20]))


@pytest.fixture(scope="module")
def states() -> Reference:
    return reference_of(STATES, "lstm")


def ratio(
    reference: Reference, dtype: str, name: str = "", change: Callable[[Any], Any] = lambda x: x
) -> float:
    """Of an implementation that differs from NumPy's by this change."""
    fixture = reference.case.fixture
    impl = Wrong(oracle(fixture.task, dtype), name, change)
    diagnostic = reference.diagnostic
    return reference.seen(diagnostic.curves(diagnostic.ask(impl, fixture, dtype)), dtype).ratio  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", ["distance", "clipping", "states"])
def test_the_oracle_is_its_own_equal(which: str, dtype: str, request: pytest.FixtureRequest) -> None:
    reference = request.getfixturevalue(which)
    found = ratio(reference, dtype)
    assert found <= 0.3
    assert (found == 0) == (dtype == "float64")


def scaled(part: str, by: float, rows: slice = slice(None)) -> Callable[[Arrays], Arrays]:
    def change(answer: Arrays) -> Arrays:
        moved = answer[part].copy()
        moved[rows] *= by
        return answer | {part: moved}

    return change


@pytest.mark.parametrize(("dtype", "off"), [("float64", 1e-12), ("float32", 1e-3)])
def test_a_wrong_gradient_at_one_distance_is_found(distance: Reference, dtype: str, off: float) -> None:
    """Even at the last, where the gradient is a hundred times smaller than at the first."""
    last = scaled("carry.encoder.0.fwd.h", 1 + off, slice(-4, None))
    assert ratio(distance, dtype, "gradients", last) > 1


def test_a_gradient_that_is_no_number_is_not_equal(distance: Reference) -> None:
    assert not ratio(distance, "float64", "gradients", scaled("carry.encoder.0.fwd.h", np.nan)) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_implementation_that_does_not_clip_is_found(clipping: Reference, dtype: str) -> None:
    fixture = clipping.case.fixture
    training = replace(fixture.task.training, clip=float("inf"))
    impl = oracle(replace(fixture.task, training=training), dtype)
    curves = CLIPPING.curves(CLIPPING.ask(impl, fixture, dtype))
    assert clipping.seen(curves, dtype).ratio > 1
    assert (curves["after"] > clipping.curves["after"] * 1.01).any()


def test_states_that_are_turned_are_found(states: Reference) -> None:
    assert ratio(states, "float64", "forward", scaled("hidden.encoder", -1.0)) > 1
    assert ratio(states, "float32", "forward", scaled("hidden.encoder", 1.01)) > 1


def test_a_component_that_rounding_may_turn_has_no_tolerance_worth_the_name(states: Reference) -> None:
    """Two loadings of one size and other signs: which is the larger, an ulp decides."""
    line = np.array([[1.0, -1.0 - 1e-16]]) / np.sqrt(2)
    points = np.linspace(-1, 1, 50)[:, None] * line
    seen = {
        float(np.sign(components(points * [1 + off, 1 - off], 1).coordinates[0, 0])) for off in (-1e-7, 1e-7)
    }
    assert seen == {-1.0, 1.0}
    # ... which the draws of a reference see: the error is then 2, and kappa 2 / u.
    assert max(values.max() for values in states.kappa.values()) < 1e3 < 2 / roundoff("float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_ill_conditioned_point_is_not_judged(
    distance: Reference, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = float(np.median(distance.kappa["gradient norm"]))
    monkeypatch.setattr(judging, "KAPPA_LIMIT", limit)
    tolerances = distance.tolerances(dtype)["gradient norm"]
    assert tolerances[0] is not None
    assert tolerances[-1] is None
    wrong = scaled("carry.encoder.0.fwd.h", 2.0, slice(-4, None))
    assert ratio(distance, dtype, "gradients", wrong) <= 1  # it is past what can be told


def test_a_training_is_judged_in_float32_up_to_the_horizon(
    clipping: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert None not in clipping.tolerances("float32")["before"]
    monkeypatch.setattr(judging, "HORIZON", float(np.median(clipping.strayed["before"])))
    assert clipping.tolerances("float32")["before"][-1] is None
    assert None not in clipping.tolerances("float64")["before"]


def test_errors_only_grow_along_a_curve(distance: Reference, clipping: Reference) -> None:
    for reference in (distance, clipping):
        for measured in (*reference.kappa.values(), *reference.strayed.values()):
            assert (np.diff(measured) >= 0).all()
            assert measured[0] == measured[2] > 0


def test_the_tolerance_comes_from_the_constants_of_the_gate(distance: Reference, clipping: Reference) -> None:
    u, kappa = roundoff("float64"), np.maximum(1, distance.kappa["gradient norm"])
    factor = float(distance.rule("float64").split()[0])
    assert distance.tolerances("float64")["gradient norm"] == pytest.approx(list(factor * u * kappa))
    assert distance.rule("float64") == f"{constant('float64.roundoffs'):g} u kappa"
    assert clipping.rule("float64") == f"{constant('float64.training'):g} u kappa"
    plus = f" x the oracle's own float32 error + {constant('float32.roundoffs'):g} u"
    assert distance.rule("float32") == f"{constant('float32.factor'):g}{plus}"
    assert clipping.rule("float32") == f"{constant('float32.trajectory'):g}{plus}"
