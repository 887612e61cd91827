"""A sample group: what is called, when it waits, and that a missing wait is noticed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from results.errors import UserError
from suites import selection
from suites.bench import group as groups
from suites.bench.group import MissingSync, Sample


def question(**options: str) -> selection.Question:
    chosen = {"impl": "numpy", "task": "adding", "cell": "lstm", "size": "tiny", **options}
    return groups.only(selection.questions(chosen.get, size="tiny", dtypes=("float32",)))


def test_the_last_iteration_of_a_round_waits_and_no_other() -> None:
    events: list[str] = []
    sample = Sample(lambda: events.append("step"), lambda: events.append("sync"), 3, None)
    for _ in range(6):
        sample()
    assert events == ["step", "step", "step", "sync"] * 2


class Device:
    """Work that goes on after the call has returned, as on a GPU."""

    def __init__(self, seconds: float, *, waits: bool) -> None:
        self.seconds, self.waits, self.ready = seconds, waits, 0.0

    def step(self) -> None:
        self.ready = max(self.ready, time.perf_counter()) + self.seconds

    def wait(self) -> None:
        time.sleep(max(0.0, self.ready - time.perf_counter()))

    def sync(self) -> None:
        if self.waits:
            self.wait()

    def fetch(self, _: object) -> np.ndarray:
        self.wait()
        return np.zeros(1)


def test_a_missing_sync_is_noticed() -> None:
    device = Device(0.01, waits=False)
    sample = Sample(device.step, device.sync, 4, device.fetch)
    with pytest.raises(MissingSync, match="does not wait for the device"):
        sample.prove_sync(round_s=0.04)


def test_one_late_copy_on_a_busy_machine_is_not_blamed() -> None:
    device = Device(0.0, waits=True)
    delays = iter([0.05, 0.0, 0.05])

    def fetch(_: object) -> np.ndarray:
        time.sleep(next(delays))
        return np.zeros(1)

    Sample(device.step, device.sync, 4, fetch).prove_sync(round_s=0.04)


def test_a_sync_that_waits_is_not_blamed() -> None:
    device = Device(0.01, waits=True)
    Sample(device.step, device.sync, 4, device.fetch).prove_sync(round_s=0.04)


def test_phases_are_apart_and_block_sizes_are_set() -> None:
    built = groups.build(question(), threads=1)
    assert set(built.phases) == {"import_s", "build_s", "first_step_s", "first_infer_s"}
    for what in ("train", "infer", "floor_train", "floor_infer"):
        assert built.warm_up(what) >= groups.WARM_UP_ROUNDS[0]
        assert built.iterations[what] >= 1


def test_a_group_is_one_row() -> None:
    chosen = {"impl": "numpy", "task": "adding"}
    with pytest.raises(UserError, match="options that select one row, got 4"):
        groups.only(selection.questions(chosen.get, size="tiny", dtypes=("float32",)))
