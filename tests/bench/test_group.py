"""A sample group: what is called, when it waits, and that a missing wait is noticed."""

from __future__ import annotations

import dataclasses
import re
import time
import types
from itertools import islice

import numpy as np
import pytest

from results.errors import UserError
from suites import implementations, selection, spec, tasks
from suites.bench import floor
from suites.bench import group as groups
from suites.bench.group import MissingSync, Sample, Unsteady
from suites.interface import Batch


def question(**options: str) -> selection.Question:
    chosen = {
        "impl": "numpy",
        "variant": "scratch",
        "task": "adding",
        "cell": "lstm",
        "size": "tiny",
        **options,
    }
    return groups.only(selection.questions(chosen.get, size="tiny", dtypes=("float32",)))


def test_the_last_iteration_of_a_round_waits_and_no_other() -> None:
    events: list[str] = []
    sample = Sample(lambda: events.append("step"), lambda: events.append("sync"), 3, None)
    for _ in range(6):
        sample()
    assert events == ["step", "step", "step", "sync"] * 2


def test_running_in_is_whole_rounds_that_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, groups.RUN_IN_S / 2, groups.RUN_IN_S])
    monkeypatch.setattr(groups.time, "perf_counter", lambda: next(clock))
    events: list[str] = []
    Sample(lambda: events.append("step"), lambda: events.append("sync"), 3, None).run_in()
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


class Compiler:
    """Compiles anew for every length that it has not seen, as a jitted step does."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def step(self, length: int) -> None:
        self.seen.add(length)

    def compilations(self) -> int:
        return len(self.seen)


def test_a_recompilation_while_samples_are_taken_is_noticed() -> None:
    compiler = Compiler()
    built = dataclasses.replace(groups.build(question(), threads=1), compilations=compiler.compilations)
    compiler.step(11)
    with built.steady():
        compiler.step(11)
    with pytest.raises(Unsteady, match=r"recompiled 2 time\(s\) inside the timed window"), built.steady():
        list(map(compiler.step, (12, 13)))


def test_what_looking_at_the_path_compiles_is_no_recompilation() -> None:
    compiler = Compiler()
    built = dataclasses.replace(groups.build(question(), threads=1), compilations=compiler.compilations)
    compiler.step(11)

    def path() -> dict[str, str]:
        compiler.step(2)
        return {"compiled": "torch.compile"}

    built.impl.path = path
    with built.steady():
        compiler.step(11)


def test_another_path_while_samples_are_taken_is_noticed() -> None:
    built = groups.build(question(), threads=1)
    taken = {"kernel": "fused"}
    built.impl.path = lambda: dict(taken)
    with built.steady():
        pass
    words = re.escape("got {'kernel': 'fused'} before and {'kernel': 'loop'} after")
    with pytest.raises(Unsteady, match=words), built.steady():
        taken["kernel"] = "loop"


def test_a_folder_that_counts_no_compilations_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = implementations.device_module(implementations.find("numpy"))
    plain = types.SimpleNamespace(configure=numpy.configure, floor=numpy.floor)
    monkeypatch.setattr(groups.implementations, "device_module", lambda _: plain)
    built = groups.build(question(), threads=1)
    with built.steady():
        built.target("train")()
    assert built.compilations() == 0


def test_phases_are_apart_and_block_sizes_are_set() -> None:
    built = groups.build(question(), threads=1)
    assert set(built.phases) == {"import_s", "build_s", "first_step_s", "first_infer_s"}
    for what in ("train", "infer", "floor_train", "floor_infer"):
        assert built.warm_up(what) >= groups.WARM_UP_ROUNDS[0]
        assert built.iterations[what] >= 1
    assert built.tokens == {"train": 5 * 11, "infer": 5 * 11}


@pytest.mark.parametrize("task", ["char_lm", "seq2seq", "caption"])
def test_what_generates_is_timed_decoding_too(task: str) -> None:
    built = groups.build(question(task=task, cell="gru"), threads=1)
    assert "first_decode_s" in built.phases
    asked = built.question.task
    S = {"char_lm": asked.length}.get(task, asked.target_length)
    assert built.tokens["decode"] == asked.batch * S
    sample = built.target("decode")
    sample()
    assert sample.last.shape == (asked.batch, S)
    assert built.target("floor_decode")() is None


@pytest.mark.parametrize("task", spec.names())
def test_there_is_a_size_to_time_and_one_to_prove(task: str) -> None:
    assert spec.load(task, size="small").batch > spec.load(task, size="tiny").batch


def test_tokens_and_floor_are_those_of_valid_steps() -> None:
    """Two batches of two, ragged: 3 + 5, then 2 + 2 steps to read; 4 + 3, then 3 + 4 to write."""
    task = dataclasses.replace(spec.load("seq2seq"), batch=2)
    (padded,) = islice(tasks.batches(task, 0), 1)

    def ragged(lengths: list[int], target_lengths: list[int]) -> Batch:
        of_each = {"lengths": lengths, "target_lengths": target_lengths}
        return padded._replace(**{name: np.array(value, np.int32) for name, value in of_each.items()})

    batches = [ragged([3, 5], [4, 3]), ragged([2, 2], [3, 4])]
    assert groups.tokens(task, "train", batches) == (3 + 5 + 2 + 2 + 4 + 3 + 3 + 4) / 2
    assert groups.products(task, "train", batches) == floor.training(task, (3, 4))  # 12 / 4, 14 / 4
    assert groups.products(task, "infer", batches) == floor.inference(task, (3, 4))
    assert groups.products(task, "decode", batches) == floor.decoding(task, task.target_length, (3, 4))
    assert groups.products(task, "infer", batches) != floor.inference(task)


def test_a_group_has_the_floor_of_its_own_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy, asked = implementations.device_module(implementations.find("numpy")), []

    class Device:
        configure = staticmethod(numpy.configure)
        floor = staticmethod(lambda products, *_: asked.append(products))

    monkeypatch.setattr(groups.implementations, "device_module", lambda _: Device)
    task = groups.build(question(task="sentiment"), threads=1).question.task
    lengths = floor.valid_lengths(task, list(islice(tasks.batches(task, 0), groups.BATCHES)))
    assert lengths[0] < task.length
    assert asked == [floor.training(task, lengths), floor.inference(task, lengths)]


def test_a_group_is_one_row() -> None:
    chosen = {"impl": "numpy", "variant": "scratch", "task": "adding"}
    with pytest.raises(UserError, match="options that select one row, got 4"):
        groups.only(selection.questions(chosen.get, size="tiny", dtypes=("float32",)))
