"""Declared precisions: what a row of one keeps, who offers it, and what is said where nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.errors import UserError
from suites import implementations, precision, selection, spec
from suites.interface import Unavailable

DEVICE = """
ASKED = []

def precise(dtype, device):
    ASKED.append((dtype, device))
    return {"products": dtype}
"""
SCRATCH = """
from . import device as devices

def build(task, dtype, device):
    return dtype, list(devices.ASKED)
"""


def asked(dtype: str | None) -> list[selection.Question]:
    chosen = {"impl": "torch", "task": "adding", "cell": "rnn", "variant": "native", "dtype": dtype}
    return selection.questions(chosen.get, size="tiny", dtypes=spec.DTYPES)


def test_nobody_is_asked_for_a_declared_precision_unasked() -> None:
    assert [question.row.dtype for question in asked(None)] == ["float32", "float64"]
    found = [question.row for question in asked("float64,tf32,bf16")]
    assert [(row.dtype, row.kept) for row in found] == [
        ("float64", "float64"),
        ("tf32", "float32"),
        ("bf16", "float32"),
    ]


def test_the_nearest_precision_is_suggested() -> None:
    with pytest.raises(UserError, match="Did you mean 'bf16'"):
        asked("fb16")


def test_who_knows_two_dtypes_says_so() -> None:
    with pytest.raises(UserError, match="Known: float32, float64"):
        selection.questions(
            {"impl": "numpy", "dtype": "tf32"}.get, size="tiny", dtypes=spec.DTYPES, valid=spec.DTYPES
        )


def test_unit_roundoffs() -> None:
    assert precision.roundoff("float32") == 2.0**-24
    assert precision.roundoff("float64") == 2.0**-53
    for dtype, bits in (("tf32", 11), ("bf16", 8)):
        assert precision.roundoff(dtype) == 2.0**-bits


def test_precision_is_set_before_an_implementation_of_float32_is_built(tmp_path: Path) -> None:
    (tmp_path / "device.py").write_text(DEVICE, encoding="utf-8")
    (tmp_path / "scratch.py").write_text(SCRATCH, encoding="utf-8")
    build = implementations.builder(implementations.find(str(tmp_path)), "scratch")
    task = spec.load("adding", size="tiny")
    assert build(task, "bf16", "cpu") == ("float32", [("bf16", "cpu")])
    assert build(task, "float64", "cpu") == ("float64", [("bf16", "cpu"), ("float64", "cpu")])


@pytest.mark.parametrize("dtype", ["tf32", "bf16"])
def test_who_does_not_offer_it_is_skipped_with_the_reason(dtype: str) -> None:
    numpy = implementations.find("numpy")
    with pytest.raises(Unavailable, match=f"numpy does not offer {dtype}: .* no function precise"):
        implementations.builder(numpy, "scratch")(spec.load("adding", size="tiny"), dtype, "cpu")
    assert implementations.precise(numpy, "float32", "cpu") == {}
