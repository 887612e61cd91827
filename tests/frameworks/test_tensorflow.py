"""What TensorFlow's ``device.py`` offers beside the gate."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from suites import implementations, spec, tasks
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
    ("name", "given"), [("char_lm", "padded, all of one length"), ("sentiment", "padded, with lengths")]
)
def test_the_path_says_what_cudnn_is_given(name: str, given: str) -> None:
    impl = implementations.builder(TENSORFLOW, "native")(spec.load(name, cell="lstm"), "float32", "cpu")
    assert "batch" not in impl.path()
    impl.net.kernel = "cuDNN"
    assert impl.path()["batch"] == given


def test_bf16_is_no_dtype_that_cudnn_computes_in() -> None:
    for dtype, told in (("float32", None), ("bf16", "float32, what comes and goes rounded to bfloat16")):
        impl = implementations.builder(TENSORFLOW, "native")(spec.load("char_lm", cell="lstm"), dtype, "cpu")
        assert "cuDNN computes in" not in impl.path()
        impl.net.kernel = "cuDNN"
        assert impl.path().get("cuDNN computes in") == told


@pytest.mark.parametrize("dtype", ["float32", "bf16"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("name", ["char_lm", "sentiment", "seq2seq"])
def test_keras_gives_every_layer_to_cudnn(
    name: str, cell: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced as where there is a GPU: the operations are cuDNN's, forward and back, and there is no loop."""
    backend = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    build = dict(tf.sysconfig.get_build_info(), is_cuda_build=True)
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)
    implementations.precise(TENSORFLOW, dtype, "cpu")
    task, native = spec.load(name, cell=cell, size="tiny"), implementations._module(TENSORFLOW, "native")
    training = implementations._module(TENSORFLOW, "training")
    impl = training.Trainer(task, "float32", "cpu", native.Network(task.model, "float32", cudnn=True))
    fixture = make(task, 0)
    impl.load(fixture.params)
    placed = impl.place(tasks.cast(fixture.batches[0], "float32"))
    graph = impl._step.get_concrete_function(placed, impl.state if task.training.stateful else None).graph
    nodes = [*graph.as_graph_def().node]
    nodes += [node for function in graph.as_graph_def().library.function for node in function.node_def]
    ops = Counter(node.op for node in nodes)
    directions = len(task.model.directions) * task.model.layers + (2 if name == "seq2seq" else 0)
    assert ops["CudnnRNNV3"] == ops["CudnnRNNBackpropV3"] == directions
    assert not {"While", "StatelessWhile"} & set(ops)


@pytest.mark.parametrize("able", [(7, 5), (8, 0)])
def test_a_gpu_before_ampere_rounds_nothing_and_that_is_said(
    able: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"compute_capability": able})
    if able == (8, 0):
        assert implementations.precise(TENSORFLOW, "tf32", "gpu") == {"tf32": "on"}
        return
    with pytest.raises(Unavailable, match=r"got 7\.5: ask for float32"):
        implementations.precise(TENSORFLOW, "tf32", "gpu")
    assert implementations.precise(TENSORFLOW, "float32", "gpu") == {"tf32": "off"}


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru_reset_before"])
@pytest.mark.parametrize("variant", ["scratch", "native", "tuned", "remat"])
def test_a_prompt_of_one_token_is_read(variant: str, cell: str) -> None:
    """Before it there is nothing to read, so the loop over time has no step."""
    task = spec.load("char_lm", cell=cell, size="tiny")
    fixture = make(task, 0)
    batch = fixture.batches[0]._replace(inputs=fixture.batches[0].inputs[:, :1], targets=None)
    written = []
    for folder, of in ((implementations.find("numpy"), "scratch"), (TENSORFLOW, variant)):
        impl: Any = implementations.builder(folder, of)(task, "float64", "cpu")
        impl.load(fixture.params)
        written.append(impl.fetch(impl.decode(impl.place(batch), 6)).tolist())
    assert written[0] == written[1]


def test_cudnns_package_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device = implementations.device_module(TENSORFLOW)
    assert device._libraries() == "in no package"
    held = [SimpleNamespace(name=name, version="9.1") for name in ("nvidia-cudnn-cu13", "numpy")]
    monkeypatch.setattr(device.metadata, "distributions", lambda: held)
    assert device._libraries() == "nvidia-cudnn-cu13 9.1"


def test_a_profile_of_a_gpu_without_the_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["GPU"])
    with pytest.raises(RuntimeError, match="expected TensorFlow's profiler to see the GPU"):
        implementations.device_module(TENSORFLOW).profile(lambda: tf.ones(3).numpy())


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
