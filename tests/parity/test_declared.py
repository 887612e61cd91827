"""The gate of a declared precision: float32's rules, with its own unit roundoff."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suites import spec
from suites.interface import Array, Arrays, Batch
from suites.parity.fixtures import oracle
from suites.parity.ladder import Climb
from suites.parity.level import Level
from suites.parity.reference import horizon, reference
from suites.parity.tolerances import beside_oracle, coarser, constant, limit
from suites.spec import Task

TASK = "tagging"


def rounded(array: Array) -> Array:
    """To the nearest bfloat16, in float32; what is no float stays."""
    if array.dtype != np.float32:
        return array
    bits = np.ascontiguousarray(array).view(np.uint32).astype(np.uint64)
    found: Array = ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return found.reshape(array.shape)


class Rounded:
    """The oracle in float32, its answers to 8 bits; ``wrong`` reads the steps of a batch backwards."""

    def __init__(self, task: Task, wrong: bool) -> None:
        self.oracle, self.wrong = oracle(task, "float32"), wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self.oracle, name)

    def _read(self, batch: Batch) -> Batch:
        return batch._replace(inputs=batch.inputs[:, ::-1]) if self.wrong else batch

    def forward(self, batch: Batch, carry: Arrays) -> Arrays:
        return {name: rounded(a) for name, a in self.oracle.forward(self._read(batch), carry).items()}

    def gradients(self, batch: Batch, carry: Arrays) -> Arrays:
        return {name: rounded(a) for name, a in self.oracle.gradients(batch, carry).items()}

    def loss(self, batch: Batch, carry: Arrays) -> float:
        return float(rounded(np.array(self.oracle.loss(batch, carry), np.float32)))

    def fetch(self, value: Any) -> Array:
        return rounded(self.oracle.fetch(value))


def climbed(dtype: str, build: Any) -> list[Level]:
    return list(Climb(reference(spec.load(TASK, cell="lstm", size="tiny"), 0), dtype, build).levels())


def test_answers_of_8_bits_pass_as_bf16_and_fall_as_float32() -> None:
    def build(task: Task) -> Any:
        return Rounded(task, wrong=False)

    levels = climbed("bf16", build)
    assert [level.status for level in levels[:5]] == ["passed"] * 5
    assert levels[-1].status in ("passed", "horizon reached")
    assert levels[1].detail == ""
    last = climbed("float32", build)[-1]
    assert (last.level, last.status) == (1, "failed")


def test_a_defect_falls_as_bf16_too() -> None:
    last = climbed("bf16", lambda task: Rounded(task, wrong=True))[-1]
    assert (last.level, last.status) == (1, "failed")
    told = last.told
    assert told is not None
    assert "x 65536 of bf16" in told.origin


def test_a_precision_that_does_not_show_is_said() -> None:
    levels = climbed("bf16", lambda task: oracle(task, "float32"))
    assert levels[-1].level == 5
    assert levels[1].detail == "as exact as float32"
    assert climbed("float32", lambda task: oracle(task, "float32"))[1].detail == ""


def test_the_rule_is_float32s_with_another_u() -> None:
    for dtype, u in (("tf32", 2.0**-11), ("bf16", 2.0**-8)):
        assert coarser(dtype) == u * 2.0**24
        found = beside_oracle({"h": 1e-8}, dtype)("h").value
        expected = constant("declared.factor") * 1e-8 * coarser(dtype) + constant("declared.roundoffs") * u
        assert found == pytest.approx(expected)
    assert beside_oracle({"h": 1e-8}, "float32")("h") == beside_oracle({"h": 1e-8})("h")


def test_the_horizon_is_where_the_scaled_error_passes_its_limit() -> None:
    envelope = [{"w": error, "loss": 1.0} for error in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
    params = {"w": np.zeros(1)}
    assert horizon(envelope, params) == sum(e["w"] <= limit("float32") for e in envelope)
    for dtype in ("tf32", "bf16"):
        inside = sum(e["w"] * coarser(dtype) <= limit(dtype) for e in envelope)
        assert 0 < inside < len(envelope)
        assert horizon(envelope, params, dtype) == inside
