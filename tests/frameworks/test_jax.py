"""What JAX has beside the gate: cuDNN's LSTM, proven on JAX's own reference; precisions; kept programs."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from suites import implementations, recording, spec, tasks, weights
from suites.interface import Unavailable
from suites.parity.fixtures import make
from suites.parity.ladder import Climb
from suites.parity.level import Level
from suites.parity.reference import reference
from suites.spec import Task

jax: Any = pytest.importorskip("jax", reason="nox -s frameworks")
JAX = implementations.find("jax")


def own(name: str) -> Any:
    """A module of the implementation."""
    return implementations._module(JAX, name)


def as_cudnn(xs: Any, h: Any, c: Any, flat: Any, lengths: Any, *sizes: Any) -> Any:
    """What the binding computes, by the reference that JAX has beside it, in any dtype and on any device."""
    rnn = own("cudnn").rnn
    *shape, dropout, both = sizes
    return rnn.lstm_ref(
        xs, h, c, *rnn.unpack_lstm_weights(flat, *shape, both), lengths, *shape, dropout, both
    )


@pytest.fixture
def cudnn(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = own("cudnn")
    monkeypatch.setattr(module.rnn, "lstm", as_cudnn)
    return module


def climb(cudnn: Any, name: str, levels: int) -> list[Level]:
    """The first levels of cuDNN's row of a task, in float64."""

    def build(task: Task) -> Any:
        scratch, training = own("scratch"), own("training")
        ahead, start = (partial(f, stack=cudnn.stack) for f in (scratch.forward, scratch.start))
        return training.Trainer(task, "float64", "cpu", ahead, start, scratch.advance, kernel="cuDNN")

    own("device").configure("cpu", 1)
    known = reference(spec.load(name, cell="lstm", size="tiny"), 0)
    return list(islice(Climb(known, "float64", build).levels(), levels))


@pytest.mark.parametrize(("name", "last"), [("char_lm", 7), ("sentiment", 3), ("seq2seq", 3)])
def test_cudnns_layers_climb_the_ladder(cudnn: Any, name: str, last: int) -> None:
    """Layers in one call, up to decoding; both directions, lengths, dropout's masks; encoder and decoder."""
    levels = climb(cudnn, name, 1 + min(last, 6))
    assert {level.status for level in levels} == {"passed"}
    assert levels[-1].level == last


def test_another_order_of_the_weights_falls(cudnn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = cudnn.flat
    monkeypatch.setattr(cudnn, "flat", lambda params, names: flat(params, names[::-1]))
    last = climb(cudnn, "sentiment", 2)[-1]
    assert (last.level, last.status) == (1, "failed")


def test_a_prompt_of_one_token_is_read_without_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    module = own("cudnn")
    monkeypatch.setattr(module.rnn, "lstm", None)
    task = spec.load("char_lm", cell="lstm", size="tiny")
    model = task.model
    params = {name: np.ones(shape, np.float32) for name, shape in weights.shapes(task.model).items()}
    zeros = np.zeros((2, model.hidden), np.float32)
    state = {f"encoder.{k}.fwd": (zeros, zeros) for k in range(model.layers)}
    xs = np.zeros((2, 0, model.embedding), np.float32)
    hs, final = module.stack(params, "encoder", xs, state, None, None, model)
    assert hs.shape == (2, 0, model.hidden)
    assert all((np.asarray(part) == 0).all() for parts in final.values() for part in parts)


def test_cudnn_holds_an_lstm_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    holds, device = own("cudnn").holds, own("device")
    lstm, gru = (spec.load("adding", cell=cell).model for cell in ("lstm", "gru"))
    assert holds(lstm, "float32")
    assert not holds(lstm, "float64")
    assert not holds(gru, "float32")
    config = type("Config", (), {"jax_default_matmul_precision": "highest"})()
    monkeypatch.setattr(device.jax, "config", config)
    config.jax_default_matmul_precision = device.ALGORITHMS["tf32"]
    assert device.rounds_to() == "tf32"
    assert holds(lstm, "float32")
    config.jax_default_matmul_precision = device.ALGORITHMS["bf16"]
    assert not holds(lstm, "float32")


@pytest.mark.parametrize("name", ["char_lm", "sentiment", "seq2seq"])
@pytest.mark.parametrize(("dtype", "rounded"), [("float32", "False"), ("tf32", "True")])
def test_jaxs_own_binding_takes_what_it_is_given(
    name: str, dtype: str, rounded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The binding itself, traced: it checks shapes and dtypes, and reads whether TF32 is allowed. Only how
    much room cuDNN wants must a GPU say."""

    class Room:
        @staticmethod
        def compute_rnn_workspace_reserve_space_sizes(*_: Any) -> tuple[int, int]:
            return 400, 800

    module, device, scratch = own("cudnn"), own("device"), own("scratch")
    monkeypatch.setattr(module.rnn, "gpu_rnn", Room)
    device.configure("cpu", 1)
    task = spec.load(name, cell="lstm", size="tiny")
    ahead, start = (partial(f, stack=module.stack) for f in (scratch.forward, scratch.start))
    impl = own("training").Trainer(task, "float32", "cpu", ahead, start, scratch.advance, kernel="cuDNN")
    fixture = make(task, 0)
    impl.load(fixture.params)
    placed = impl.place(tasks.cast(fixture.batches[0], "float32"))
    with jax.default_matmul_precision(device.ALGORITHMS.get(dtype, "highest")):
        traced = str(impl._run_step.trace(impl.params, impl.moments, impl.state, placed).jaxpr)
    layers = 1 if task.model.dropout == 0 else task.model.layers
    stacks = 2 if name == "seq2seq" else 1
    for way in ("rnn_fwd", "rnn_bwd"):
        assert len(re.findall(rf"\b{way}\[", traced)) == layers * stacks
    assert set(re.findall(r"cudnn_allow_tf32=(\w+)", traced)) == {rounded}


def test_the_floor_on_a_gpu_is_products_alone() -> None:
    """As XLA is given it for CUDA; and as it compiles it, here for the CPU: within the loop."""
    in_turn = own("device")._in_turn
    a, b = np.ones((4, 8), np.float32), np.ones((8, 16), np.float32)
    run = jax.jit(lambda a, b: in_turn(20, a, b))
    given = run.trace(a, b).lower(lowering_platforms=("cuda",)).as_text()
    assert given.count("dot_general") == 1
    assert not re.search("scatter|slice|gather", given)
    made = run.lower(a, b).compile().as_text()
    (body,) = re.findall(r"\bwhile\(.*body=(%[\w.]+)", made)
    (inside,) = re.findall(rf"^{re.escape(body)} .*?^}}", made, re.DOTALL | re.MULTILINE)
    called = re.findall(r"calls=(%[\w.]+)", inside)
    parts = [re.search(rf"^{re.escape(name)} .*?^}}", made, re.DOTALL | re.MULTILINE) for name in called]
    assert any(" dot(" in text for text in [inside, *(part.group() for part in parts if part)])


@pytest.mark.parametrize("told", ["7.5", "8.0", "9.0", "gfx90a"])
def test_a_gpu_before_ampere_rounds_nothing_and_that_is_said(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = own("device")
    monkeypatch.setattr(device, "find", lambda _: type("Device", (), {"compute_capability": told})())
    try:
        if told == "7.5":
            with pytest.raises(Unavailable, match=r"got 7\.5: ask for float32"):
                device.precise("tf32", "gpu")
        else:
            assert device.precise("tf32", "gpu") == {"matmul_precision": "TF32_TF32_F32"}
        assert device.precise("float32", "gpu") == {"matmul_precision": "highest"}
    finally:
        device.precise("float32", "cpu")


def test_cudnns_package_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device = implementations.device_module(JAX)
    assert device._libraries() == "in no package"
    held = [SimpleNamespace(name=name, version="9.1") for name in ("nvidia-cudnn-cu13", "numpy")]
    monkeypatch.setattr(device.metadata, "distributions", lambda: held)
    assert device._libraries() == "nvidia-cudnn-cu13 9.1"


def test_a_profile_of_a_gpu_without_the_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(RuntimeError, match="expected XLA's profiler to see the GPU"):
        own("device").profile(lambda: jax.block_until_ready(jax.numpy.ones(3) + 1))


def test_a_setting_is_read_by_its_new_name_first(monkeypatch: pytest.MonkeyPatch) -> None:
    read = own("device")._set
    for name in ("NEW", "OLD"):
        monkeypatch.delenv(name, raising=False)
    assert read("NEW", "OLD", default="0.75") == "0.75 (default)"
    monkeypatch.setenv("OLD", "0.5")
    assert read("NEW", "OLD", default="0.75") == "0.5"
    monkeypatch.setenv("NEW", "0.9")
    assert read("NEW", "OLD", default="0.75") == "0.9"


def test_on_a_gpu_a_tuned_lstm_is_cudnns(cudnn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What build makes there; the ladder above says that it is right."""

    class Made:  # in place of a Trainer, which asks for the GPU
        def __init__(self, *given: Any, kernel: str) -> None:
            self.kernel = kernel
            self.stacks = {f.keywords["stack"] for f in given if isinstance(f, partial)}

    tuned = own("tuned")  # before the class that it is made of is another
    monkeypatch.setattr(own("training"), "Trainer", Made)
    monkeypatch.setattr(tuned, "Trainer", Made)
    lstm, gru = (spec.load("char_lm", cell=cell, size="tiny") for cell in ("lstm", "gru"))
    made = tuned.build(lstm, "float32", "gpu")
    assert (made.kernel, made.stacks) == ("cuDNN", {cudnn.stack})
    for task, dtype, device in ((gru, "float32", "gpu"), (lstm, "float64", "gpu"), (lstm, "float32", "cpu")):
        made = tuned.build(task, dtype, device)
        assert (made.kernel, made.stacks) == ("lax.scan, its own way back", {tuned.stack})


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru_reset_before"])
@pytest.mark.parametrize("variant", ["scratch", "native", "tuned", "remat"])
def test_a_prompt_of_one_token_is_read(variant: str, cell: str) -> None:
    """Before it there is nothing to read, so the loop over time has no step."""
    task = spec.load("char_lm", cell=cell, size="tiny")
    fixture = make(task, 0)
    batch = fixture.batches[0]._replace(inputs=fixture.batches[0].inputs[:, :1], targets=None)
    written = []
    for folder, of in ((implementations.find("numpy"), "scratch"), (JAX, variant)):
        impl: Any = implementations.builder(folder, of)(task, "float64", "cpu")
        impl.load(fixture.params)
        written.append(impl.fetch(impl.decode(impl.place(batch), 6)).tolist())
    assert written[0] == written[1]


def test_remat_keeps_less_of_a_long_sequence() -> None:
    """By XLA's own account of a step."""
    task = spec.load("char_lm", cell="lstm", size="tiny", length=400)
    fixture, own_device = make(task, 0), own("device")
    own_device.configure("cpu", 1)

    def temporary(variant: str) -> int:
        impl: Any = implementations.builder(JAX, variant)(task, "float32", "cpu")
        impl.load(fixture.params)
        placed = impl.place(fixture.batches[0])
        compiled = impl._run_step.lower(impl.params, impl.moments, impl.state, placed).compile()
        return int(compiled.memory_analysis().temp_size_in_bytes)

    assert temporary("remat") < 0.7 * temporary("tuned")


@pytest.mark.parametrize("dtype", ["tf32", "bf16"])
def test_on_a_cpu_nothing_is_rounded_and_that_is_said(dtype: str) -> None:
    with pytest.raises(Unavailable, match=f"expected a GPU for {dtype}, got the CPU"):
        implementations.precise(JAX, dtype, "cpu")
    assert implementations.precise(JAX, "float32", "cpu") == {"matmul_precision": "highest"}


def test_a_copy_moves_what_it_is_asked_to() -> None:
    device = own("device")
    moved = device.copy(1000, "cpu")()
    device.wait(moved)
    assert moved.nbytes == 500


def test_a_profile_says_what_of_a_call_took_how_long() -> None:
    """A loop's own time is not that of what is in it."""
    jnp = jax.numpy

    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(h @ W + x)
        return h, h

    run = jax.jit(lambda xs: jax.lax.scan(step, jnp.zeros((64, 200)), xs)[1])
    W, xs = jnp.ones((200, 200)) / 200, jnp.ones((50, 64, 200))
    jax.block_until_ready(run(xs))
    found = own("device").profile(lambda: jax.block_until_ready(run(xs)))
    assert any("while" in name for name in found)
    longest = max(found, key=found.__getitem__)
    assert "while" not in longest
    assert 0 < found[longest] < 5
    assert not any(name.startswith("end: ") for name in found)


def test_time_inside_counts_once() -> None:
    events = [(0, 100, "a"), (10, 20, "b"), (15, 5, "c"), (40, 50, "b"), (200, 10, "a")]
    found = {name: round(1e9 * seconds) for name, seconds in own("device").own(events).items()}
    assert found == {"a": 40, "b": 65, "c": 5}


KEEPING = """
import sys
from pathlib import Path
import jax
from suites import implementations
device = implementations.device_module(implementations.find("jax"))
device.configure("cpu", 1)
device.keep_compiled(Path(sys.argv[1]))
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
answer = jax.jit(lambda x: jax.numpy.tanh(x) @ x)(jax.numpy.ones((3, 3)))
print(events.count("/jax/compilation_cache/cache_hits"), float(answer[0, 0]))
"""


def hits_and_answer(folder: Path) -> tuple[int, float]:
    """In a process of its own: how many programs were read, and what one of them answers."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::UserWarning", "-c", KEEPING, str(folder)],
        cwd=recording.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    hits, answer = done.stdout.split()
    return int(hits), float(answer)


def test_a_program_is_compiled_once_and_one_cut_short_is_compiled_again(tmp_path: Path) -> None:
    first, answer = hits_and_answer(tmp_path)
    second, same = hits_and_answer(tmp_path)
    assert (first, second > 0, same) == (0, True, answer)
    for file in tmp_path.glob("*-cache"):
        file.write_bytes(file.read_bytes()[:100])
    assert hits_and_answer(tmp_path) == (0, answer)


@pytest.mark.parametrize(
    ("name", "given"), [("char_lm", "padded, all of one length"), ("sentiment", "padded, with lengths")]
)
def test_the_path_says_what_cudnn_is_given(name: str, given: str) -> None:
    impl = implementations.builder(JAX, "native")(spec.load(name, cell="lstm"), "float32", "cpu")
    assert "batch" not in impl.path()
    impl.kernel = "cuDNN"
    assert impl.path()["batch"] == given
