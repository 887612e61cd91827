"""What PyTorch's ``device.py`` offers beside the gate: declared precisions, the kernels that ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from suites import implementations, spec, weights
from suites.interface import Unavailable
from suites.parity.fixtures import make

torch: Any = pytest.importorskip("torch", reason="nox -s frameworks")
TORCH = implementations.find("torch")


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    yield
    implementations.precise(TORCH, "float32", "cpu")


def test_bf16_is_autocast_read_back() -> None:
    assert implementations.precise(TORCH, "bf16", "cpu")["autocast"] == "bfloat16"
    assert "autocast" not in implementations.precise(TORCH, "float32", "cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_tf32_is_of_gpus() -> None:
    with pytest.raises(Unavailable, match="expected a GPU for TF32, got the CPU: ask for bf16"):
        implementations.precise(TORCH, "tf32", "cpu")


@pytest.mark.parametrize("variant", ["scratch", "native"])
def test_a_row_of_bf16_says_so_and_answers_in_float32(variant: str) -> None:
    task = spec.load("char_lm", cell="lstm", size="tiny")
    impl = implementations.builder(TORCH, variant)(task, "bf16", "cpu")
    assert impl.path()["autocast"] == "bfloat16"
    fixture = make(task, 0)
    impl.load(fixture.params)
    placed = impl.place(fixture.batches[0])
    rounded = impl.fetch(impl.infer(placed))
    implementations.precise(TORCH, "float32", "cpu")
    assert "autocast" not in impl.path()  # so a group whose precision changes is void
    exact = impl.fetch(impl.infer(placed))
    off = abs(rounded - exact).max() / abs(exact).max()
    assert str(rounded.dtype) == "float32"
    assert 1e-4 < off < 0.1
    assert {str(w.dtype) for w in impl.dump().values()} == {"float32"}


def test_the_loop_by_hand_has_no_bf16() -> None:
    with pytest.raises(Unavailable, match="ask native"):
        implementations.builder(TORCH, "tuned")(spec.load("adding", size="tiny"), "bf16", "cpu")


def test_no_weight_is_older_than_the_last_step() -> None:
    """Autocast keeps the weights that it has rounded until its end."""
    task = spec.load("adding", cell="lstm", size="tiny")
    impl = implementations.builder(TORCH, "native")(task, "bf16", "cpu")
    impl.load(weights.cast(weights.initial(task, 0), "float32"))
    placed = impl.place(make(task, 0).batches[0])
    losses = []
    for _ in range(30):
        losses.append(float(impl.fetch(impl.step(placed))))
    assert losses[-1] < 0.5 * losses[0]


def test_a_profile_says_which_operation_took_how_long() -> None:
    a = torch.ones(400, 400)
    began = time.perf_counter()
    found = implementations.device_module(TORCH).profile(lambda: (a @ a, a + a))
    assert {"aten::mm", "aten::add"} <= set(found)
    assert 0 < sum(found.values()) < time.perf_counter() - began
