"""The bytes that must move, and which of two bounds a GPU's floor is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from suites import implementations, spec, tasks
from suites.bench import bound
from suites.bench import group as groups
from suites.interface import Batch
from suites.selection import questions
from suites.spec import Task

SCRATCH = """
from impls.numpy.scratch import build as numpy

def build(task, dtype, device):
    return numpy(task, dtype, "cpu")
"""
DEVICE = """
import time
from suites.plain_device import PACKAGES, compilations, floor, peak_memory

MOVED, WAITED = [], []

def configure(device, threads):
    return {"threads": str(threads)}

def copy(size, device):
    def run():
        MOVED.append(size)
        if SECONDS:
            time.sleep(SECONDS)
        return size

    return run

def wait(answer):
    WAITED.append(answer)

def profile(call):
    call()
    return {f"kernel {n}": 1 / (1 + n) for n in reversed(range(20))}
"""


def batches(task: Task) -> list[Batch]:
    drawn = tasks.batches(task, 0)
    return [next(drawn) for _ in range(3)]


def test_a_step_reads_and_writes_what_it_must() -> None:
    task = spec.load("adding", cell="lstm", size="tiny")  # features, final head, squared error, Adam
    B, T, H, I, O = task.batch, task.length, task.model.hidden, task.model.features, task.model.outputs  # noqa: E741
    parameters = I * 4 * H + H * 4 * H + 4 * H + H * O + O
    batch = B * T * I + B * O
    kept = B * T * 6 * H
    assert bound.traffic(task, "float32", "train", batches(task)) == 4 * (6 * parameters + batch + 2 * kept)
    assert bound.traffic(task, "float64", "train", batches(task)) == 8 * (6 * parameters + batch + 2 * kept)
    assert bound.traffic(task, "bf16", "train", batches(task)) == 4 * (6 * parameters + batch) + 2 * 2 * kept
    assert bound.traffic(task, "tf32", "infer", batches(task)) == 4 * (parameters + B * T * I + B * O)
    by_sgd = dataclasses.replace(task, training=dataclasses.replace(task.training, optimiser="sgd"))
    assert bound.traffic(by_sgd, "float32", "train", batches(task)) == 4 * (2 * parameters + batch + 2 * kept)


def test_of_an_embedding_only_the_rows_that_can_be_asked_for_are_read() -> None:
    task = spec.load("char_lm", cell="rnn", size="tiny")
    model = dataclasses.replace(task.model, vocabulary=10_000)
    wide = dataclasses.replace(task, model=model)
    rows = task.batch * task.length
    more = bound.traffic(wide, "float32", "infer", batches(task)) - bound.traffic(
        task, "float32", "infer", batches(task)
    )
    assert more == 4 * (min(10_000, rows) - task.model.vocabulary) * task.model.embedding
    one = bound.traffic(task, "float32", "decode", batches(task), decoded=1)
    two = bound.traffic(task, "float32", "decode", batches(task), decoded=2)
    assert two > one


def test_padding_need_not_move() -> None:
    task = spec.load("sentiment", cell="lstm", size="tiny")
    ragged = batches(task)
    whole = [batch._replace(lengths=np.full_like(batch.lengths, task.length)) for batch in ragged]
    assert bound.traffic(task, "float32", "train", ragged) < bound.traffic(task, "float32", "train", whole)


def test_seconds_of_a_call_are_without_a_wait_for_each() -> None:
    waited: list[int] = []

    def wait(answer: int) -> None:
        waited.append(answer)
        time.sleep(0.02)

    calls = iter(range(1000))
    found = bound.seconds(lambda: next(calls), wait)
    assert waited == [bound.CALLS * (n + 1) - 1 for n in range(1 + bound.TRIES)]
    assert 0.02 / bound.CALLS <= found < 0.02


@pytest.mark.parametrize(("seconds", "by"), [("0.01", "bytes"), ("0.0", "products")])
def test_a_group_on_a_gpu_has_the_longer_floor_and_names_its_kernels(
    tmp_path: Path, seconds: str, by: str
) -> None:
    (tmp_path / "scratch.py").write_text(SCRATCH, encoding="utf-8")
    (tmp_path / "device.py").write_text(DEVICE.replace("SECONDS", seconds), encoding="utf-8")
    chosen = {"impl": str(tmp_path), "task": "char_lm", "cell": "lstm", "device": "gpu"}
    (question,) = questions(chosen.get, size="tiny", dtypes=("float32",))
    built = groups.build(question, threads=1)
    assert {what: told["by"] for what, told in built.bounds.items()} == dict.fromkeys(built.calls, by)
    for told in built.bounds.values():
        assert max(told["seconds"], key=lambda of: told["seconds"][of]) == by
    moved = implementations.device_module(question.folder).MOVED
    built.floors["floor_train"]()
    assert len(moved) == len(built.calls) * (1 + bound.TRIES) * bound.CALLS + (by == "bytes")
    waited = implementations.device_module(question.folder).WAITED
    waited.clear()
    built.iterations["floor_train"] = 3
    sample = built.target("floor_train")
    for _ in range(6):
        sample()
    assert waited == [sample.last] * 2
    assert built.kernels() == {what: [f"kernel {n}" for n in range(20)] for what in built.calls}


def test_a_profiler_that_fails_loses_no_samples(tmp_path: Path) -> None:
    (tmp_path / "scratch.py").write_text(SCRATCH, encoding="utf-8")
    broken = DEVICE.replace("SECONDS", "0.0").replace("    call()\n", "    raise OSError('no CUPTI')\n")
    (tmp_path / "device.py").write_text(broken, encoding="utf-8")
    chosen = {"impl": str(tmp_path), "task": "adding", "cell": "lstm", "device": "gpu"}
    (question,) = questions(chosen.get, size="tiny", dtypes=("float32",))
    found = groups.build(question, threads=1).kernels()
    assert found == {what: ["not seen: OSError: no CUPTI"] for what in ("train", "infer")}


def test_on_a_cpu_the_floor_is_the_products() -> None:
    chosen = {"impl": "numpy", "variant": "scratch", "task": "adding", "cell": "lstm"}
    (question,) = questions(chosen.get, size="tiny", dtypes=("float32",))
    built = groups.build(question, threads=1)
    assert (built.bounds, built.kernels()) == ({}, {})
