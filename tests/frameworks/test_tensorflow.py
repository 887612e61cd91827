"""What TensorFlow's ``device.py`` offers beside the gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from suites import implementations, spec
from suites.interface import Unavailable
from suites.parity.fixtures import make

tf: Any = pytest.importorskip("tensorflow", reason="nox -s frameworks")
TENSORFLOW = implementations.find("tensorflow")


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    yield
    implementations.precise(TENSORFLOW, "float32", "cpu")


def test_tf32_is_of_gpus() -> None:
    with pytest.raises(Unavailable, match="expected a GPU for TF32, got the CPU: ask for bf16"):
        implementations.precise(TENSORFLOW, "tf32", "cpu")


def test_bf16_is_keras_policy_read_back() -> None:
    assert implementations.precise(TENSORFLOW, "bf16", "cpu") == {"tf32": "off", "policy": "mixed_bfloat16"}
    assert tf.keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert implementations.precise(TENSORFLOW, "float64", "cpu") == {"tf32": "off"}
    assert tf.keras.layers.Dense(1).compute_dtype == "float32"


@pytest.mark.parametrize("variant", ["scratch", "native", "tuned", "remat"])
def test_a_row_of_bf16_says_so_and_answers_in_float32(variant: str) -> None:
    task = spec.load("char_lm", cell="lstm", size="tiny")
    fixture, answers = make(task, 0), {}
    for dtype in ("bf16", "float32"):
        impl = implementations.builder(TENSORFLOW, variant)(task, dtype, "cpu")
        assert impl.path().get("policy") == {"bf16": "mixed_bfloat16"}.get(dtype)
        impl.load(fixture.params)
        answers[dtype] = impl.fetch(impl.infer(impl.place(fixture.batches[0])))
        assert {str(w.dtype) for w in impl.dump().values()} == {"float32"}
    off = abs(answers["bf16"] - answers["float32"]).max() / abs(answers["float32"]).max()
    assert str(answers["bf16"].dtype) == "float32"
    assert 1e-4 < off < 0.1


def test_strict_is_read_back() -> None:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    assert implementations.precise(TENSORFLOW, "float32", "cpu") == {"tf32": "off"}
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_copy_moves_what_it_is_asked_to() -> None:
    device = implementations.device_module(TENSORFLOW)
    device.wait(device.copy(1000, "cpu")())


def test_a_profile_says_what_of_a_call_took_how_long() -> None:
    @tf.function
    def run(a: Any) -> Any:
        return a @ a

    a = tf.ones((600, 600))
    run(a)
    found = implementations.device_module(TENSORFLOW).profile(lambda: run(a).numpy())
    assert any("MatMul" in name for name in found)
    assert 0 < sum(found.values()) < 60


@pytest.mark.parametrize(
    ("name", "given"), [("char_lm", "of one length"), ("sentiment", "padded, with lengths")]
)
def test_the_path_says_what_cudnn_is_given(name: str, given: str) -> None:
    impl = implementations.builder(TENSORFLOW, "native")(spec.load(name, cell="lstm"), "float32", "cpu")
    assert "batch" not in impl.path()
    impl.net.kernel = "cuDNN"
    assert impl.path()["batch"] == given


def test_a_loop_is_compiled_anew_where_products_are_rounded_otherwise() -> None:
    """The switch is baked into what XLA compiles, and the loops are shared by all rows of a process."""
    task = spec.load("adding", cell="rnn")
    fixture, unroll = make(task, 0), implementations._module(TENSORFLOW, "tuned").unroll

    def traced(rounded: bool) -> int:
        impl = implementations.builder(TENSORFLOW, "tuned")(task, "float32", "cpu")
        impl.load(fixture.params)
        tf.config.experimental.enable_tensor_float_32_execution(rounded)  # as precise does it on a GPU
        impl.infer(impl.place(fixture.batches[0]))
        return int(unroll.experimental_get_tracing_count())

    once = traced(rounded=False)
    assert traced(rounded=False) == once
    assert traced(rounded=True) == once + 1
