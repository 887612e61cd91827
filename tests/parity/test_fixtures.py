"""The fixtures can see: each property that keeps the gate from going blind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.errors import UserError
from suites import spec
from suites.parity import digests
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, make, norms
from suites.parity.reference import horizon, perturbed, plan, reference, refuse
from suites.parity.tolerances import HORIZON, KAPPA_LIMIT, STEPS, roundoff

PAIRS = [(task, cell) for task in spec.names() for cell in spec.cells(task)]


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def fixture(request: pytest.FixtureRequest) -> Fixture:
    task, cell = request.param
    return make(spec.load(task, cell=cell), 0)


def test_dimensions_are_pairwise_different(fixture: Fixture) -> None:
    task, model = fixture.task, fixture.task.model
    sizes = [task.batch, task.length, model.input_width, model.hidden, model.outputs]
    assert len(set(sizes)) == len(sizes)
    assert task.length >= 3


def test_weights_are_distinct_and_no_bias_is_zero(fixture: Fixture) -> None:
    for name, value in fixture.params.items():
        assert len(np.unique(value)) == value.size, name
        assert (np.abs(value) > 1e-4).mean() > 0.9, name
    every = np.concatenate([value.ravel() for value in fixture.params.values()])
    assert len(np.unique(every)) == every.size


def test_one_carry_is_zero_and_one_is_not(fixture: Fixture) -> None:
    assert all((part == 0).all() for part in fixture.carries["zero"].values())
    assert all((part != 0).all() for part in fixture.carries["random"].values())


def test_tokens_repeat_and_some_are_absent(fixture: Fixture) -> None:
    if fixture.task.model.inputs == "tokens":
        counts = np.bincount(fixture.batches[0].inputs.ravel(), minlength=fixture.task.model.vocabulary)
        assert counts.max() > 1
        assert counts.min() == 0


def test_clipping_is_active_and_idle_within_the_first_steps(fixture: Fixture) -> None:
    for optimiser, _ in plan(fixture):
        found = norms(fixture, optimiser)
        active = [norm > fixture.task.training.clip for norm in found]
        assert any(active), (optimiser, found)
        assert not all(active), (optimiser, found)


def test_both_dtypes_start_from_the_same_numbers(fixture: Fixture) -> None:
    floats = [*fixture.params.values(), *fixture.carries["random"].values()]
    floats += [batch.inputs for batch in fixture.batches if fixture.task.model.inputs == "features"]
    assert all(array.dtype == np.float32 for array in floats)


def test_the_digest_is_frozen_and_sees_one_bit(fixture: Fixture) -> None:
    assert not digests.check(fixture).failed
    name = next(iter(fixture.params))
    moved = fixture.params[name].copy()
    moved.flat[0] = np.nextafter(moved.flat[0], np.float32(9))
    changed = replace(fixture, params=fixture.params | {name: moved})
    assert digests.check(changed).failed


def test_well_conditioned(fixture: Fixture) -> None:
    known = reference(spec.load(fixture.task.name, cell=fixture.task.model.cell), 0)
    assert max(known.kappa.values()) < KAPPA_LIMIT / 10
    assert len(known.training[fixture.task.training.optimiser]) == STEPS


def test_an_ill_conditioned_fixture_is_refused(fixture: Fixture) -> None:
    with pytest.raises(UserError, match=r"refused.*condition number of at most 1000, got 1e\+04 for logits"):
        refuse({"logits": 1e4, "loss": 1.0}, fixture)


def test_weights_four_times_larger_are_refused_for_a_long_rnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suites.parity.fixtures.SCALE", 8.0)
    make.cache_clear()
    reference.cache_clear()
    try:
        with pytest.raises(UserError, match="refused"):
            reference(spec.load("adding", cell="rnn", length=60), 0)
    finally:
        make.cache_clear()
        reference.cache_clear()


def test_a_perturbation_is_one_ulp(fixture: Fixture) -> None:
    for dtype in spec.DTYPES:
        moved = perturbed(fixture, 0, dtype)
        for name, value in fixture.params.items():
            assert (moved.params[name] != value).all()
            assert error(moved.params[name], value) <= 2 * 2 * roundoff(dtype)


def test_the_horizon_is_where_the_oracle_strays() -> None:
    envelope = [{"w": HORIZON / 2, "m.w": 1.0}, {"w": HORIZON, "m.w": 1.0}, {"w": HORIZON * 1.01, "m.w": 1.0}]
    assert horizon(envelope, {"w": np.ones(1)}) == 2
    assert horizon(envelope[:2], {"w": np.ones(1)}) == 2
