"""What level 5 keeps: how far a row was followed, its losses to the bit, and whether it repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from suites import spec
from suites.interface import Arrays, Batch
from suites.parity import digests
from suites.parity import ladder as climbing
from suites.parity.fixtures import oracle
from suites.parity.ladder import Climb
from suites.parity.level import Level
from suites.parity.reference import Step, horizon, placed, reference
from suites.parity.tolerances import HORIZON, STEPS
from suites.parity.trajectory import Repeat, repeated
from suites.spec import Task

Build = Callable[[Task, str], Any]


class Noisy:
    """The oracle, but that every seventh step there ever was moves one bias by one ulp."""

    steps = count()

    def __init__(self, task: Task, dtype: str) -> None:
        self.oracle: Any = oracle(task, dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.oracle, name)

    def step(self, placed: Batch) -> Any:
        loss, b_q = self.oracle.step(placed), self.oracle.params["head.b_q"]
        if next(Noisy.steps) % 7 == 0:
            self.oracle.params["head.b_q"] = np.nextafter(b_q, b_q.dtype.type(9))
        return loss


def levels(build: Build, dtype: str, cell: str = "lstm") -> list[Level]:
    known = reference(spec.load("adding", cell=cell), 0)
    return list(Climb(known, dtype, lambda task: build(task, dtype)).levels())


@pytest.mark.parametrize("dtype", spec.DTYPES)
def test_the_sound_one_repeats(dtype: str) -> None:
    seen = levels(oracle, dtype)[5].trajectory
    assert seen is not None
    assert seen.repeat.equal
    assert seen.repeat.text() == ""
    assert (seen.steps, seen.of, seen.inside, seen.horizon) == (STEPS, STEPS, STEPS, None)
    assert seen.repeat.steps == (STEPS if dtype == "float32" else climbing.OTHER_STEPS)


@pytest.mark.parametrize(("dtype", "ulp"), [("float32", 1.2e-7), ("float64", 2.3e-16)])
def test_noise_within_the_tolerance_is_said_and_is_no_failure(dtype: str, ulp: float) -> None:
    last = levels(Noisy, dtype)[-1]
    assert (last.level, last.status) == (5, "passed")
    assert last.trajectory is not None
    repeat = last.trajectory.repeat
    assert not repeat.equal
    assert repeat.tensor
    assert repeat.step is not None
    assert 0 < repeat.step <= 7
    assert ulp / 10 < repeat.difference < 1000 * ulp
    assert repeat.text().startswith("not repeatable: by ")
    assert f"from step {repeat.step} on" in repeat.text()


def test_the_losses_are_kept_to_the_bit() -> None:
    known = reference(spec.load("adding", cell="lstm"), 0)
    level = levels(oracle, "float64")[5]
    kept = json.loads(json.dumps(level.record()["losses"]))
    assert kept == [step.loss for step in known.training["adam"]]
    rounded = json.loads(json.dumps(levels(oracle, "float32")[5].record()["losses"]))
    assert len(rounded) == STEPS
    assert all(float(np.float32(loss)) == loss for loss in rounded)
    assert "losses" not in levels(oracle, "float64")[4].record()


def test_a_row_that_leaves_the_envelope_says_when() -> None:
    def build(task: Task, dtype: str) -> Any:
        impl = Noisy(task, dtype)

        def step(placed: Batch) -> Any:
            if impl.oracle.steps == 36:
                impl.oracle.params["head.b_q"] = impl.oracle.params["head.b_q"] * np.float32(1.01)
            return impl.oracle.step(placed)

        impl.step = step  # type: ignore[method-assign]
        return impl

    last = levels(build, "float32")[-1]
    assert (last.level, last.status) == (5, "failed")
    assert last.record()["inside"] == 36
    assert last.record()["steps"] == 100


def test_the_horizon_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climbing, "horizon", lambda envelope, params, dtype: 37)
    last = levels(oracle, "float32")[-1]
    assert last.status == "horizon reached"
    assert last.detail == f"the oracle's own float32 error passes {HORIZON:g} after 37 of 100 steps"
    kept = last.record()
    assert [kept[key] for key in ("steps", "of", "inside", "horizon")] == [37, 100, 37, 38]
    assert len(kept["losses"]) == kept["repeat"]["steps"] == 37


def step(loss: float = 1.0, **params: float) -> Step:
    return Step(loss, {name: np.array(value) for name, value in params.items()}, {}, {}, {})


def test_what_differs_most_and_first() -> None:
    first = [step(w=1.0, b=1.0)] * 3
    assert repeated(first, first) == Repeat(3, True)
    again = [first[0], step(w=1.0 + 1e-12, b=1.0), step(w=1.0, b=1.0 + 1e-8)]
    found = repeated(first, again)
    assert (found.steps, found.equal, found.tensor, found.step) == (3, False, "b", 2)
    assert abs(found.difference - 1e-8) < 1e-12
    assert repeated([step(2.0)], [step(2.0000002)]).tensor == "loss"


def test_the_sign_of_a_zero_and_what_is_no_number_are_bits() -> None:
    assert repeated([step(w=0.0)], [step(w=-0.0)]) == Repeat(1, False, 0.0, "w", 1)
    assert repeated([step(w=np.nan)], [step(w=np.nan)]).equal
    found = repeated([step(w=1.0)], [step(w=np.nan)])
    assert found.difference == np.inf
    assert not found.equal


def test_what_place_took_is_written_over() -> None:
    held: list[Arrays] = []

    class Keeping:
        def place(self, batch: Batch) -> Batch:
            held.append({name: array for name, array in batch._asdict().items() if array is not None})
            return batch

    fixture = reference(spec.load("names", cell="rnn"), 0).fixture
    before = fixture.digest()
    placed(Keeping(), fixture.batches[0], "float64")  # type: ignore[arg-type]
    assert {"inputs", "targets", "lengths", "masks"} <= set(held[0])
    assert all((array == 1).all() for array in held[0].values())
    assert fixture.digest() == before


def test_masks_reach_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task of ours drops and generates; one that does is let to write with masks, and must use none."""
    monkeypatch.setattr(digests, "frozen", dict)
    asked = spec.load("char_lm", cell="rnn")
    known = reference(replace(asked, model=replace(asked.model, dropout=0.25)), 0)

    class Dropping(Noisy):
        step = None  # type: ignore[assignment]

        def decode(self, batch: Batch, *asked: Any) -> Any:
            start, masks = self.oracle._start, batch.masks

            def dropped(params: Arrays, prompt: Batch, *more: Any) -> Any:
                return start(params, prompt._replace(masks=masks[:, :, :-1]), *more)

            self.oracle._start = dropped
            try:
                return self.oracle.decode(batch, *asked)
            finally:
                self.oracle._start = start

    def build(task: Task) -> Any:
        impl = Dropping(task, "float64")
        impl.step = impl.oracle.step
        return impl

    assert list(Climb(known, "float64", lambda task: oracle(task)).levels())[-1].status == "passed"
    last = list(Climb(known, "float64", build).levels())[-1]
    assert (last.level, last.status) == (7, "failed")
    assert last.told is not None
    assert last.told.tensor == "tokens"


def test_the_horizon_is_where_the_oracle_strays() -> None:
    envelope = [{"w": HORIZON / 2, "m.w": 1.0}, {"w": HORIZON, "m.w": 1.0}, {"w": HORIZON * 1.01, "m.w": 1.0}]
    assert horizon(envelope, {"w": np.ones(1)}) == 2
    assert horizon(envelope[:2], {"w": np.ones(1)}) == 2
