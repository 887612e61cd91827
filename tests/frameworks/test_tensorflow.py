"""What TensorFlow's ``device.py`` offers beside the gate."""

from __future__ import annotations

from typing import Any

import pytest

from suites import implementations
from suites.interface import Unavailable

tf: Any = pytest.importorskip("tensorflow", reason="nox -s frameworks")
TENSORFLOW = implementations.find("tensorflow")


@pytest.mark.parametrize(("dtype", "words"), [("tf32", "expected a GPU for TF32"), ("bf16", "TF32 only")])
def test_what_it_cannot_round_to_is_said(dtype: str, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        implementations.precise(TENSORFLOW, dtype, "cpu")


def test_strict_is_read_back() -> None:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    assert implementations.precise(TENSORFLOW, "float32", "cpu") == {"tf32": "off"}
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_copy_moves_what_it_is_asked_to() -> None:
    implementations.device_module(TENSORFLOW).copy(1000, "cpu")()


def test_a_profile_says_what_of_a_call_took_how_long() -> None:
    @tf.function
    def run(a: Any) -> Any:
        return a @ a

    a = tf.ones((600, 600))
    run(a)
    found = implementations.device_module(TENSORFLOW).profile(lambda: run(a).numpy())
    assert any("MatMul" in name for name in found)
    assert 0 < sum(found.values()) < 60
