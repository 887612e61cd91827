"""What PyTorch's ``device.py`` offers beside the gate: declared precisions, the kernels that ran."""

from __future__ import annotations

import importlib
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import pytest

from suites import implementations, precision, spec, tasks, weights
from suites.interface import Unavailable
from suites.parity.fixtures import make
from suites.parity.ladder import Climb
from suites.parity.level import Level
from suites.parity.reference import reference
from suites.spec import Task

torch: Any = pytest.importorskip("torch", reason="nox -s frameworks")
TORCH = implementations.find("torch")


def own(name: str) -> Any:
    """A module of the implementation."""
    return implementations._module(TORCH, name)


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    yield
    implementations.precise(TORCH, "float32", "cpu")


def test_what_torch_compile_warns_of_itself_fails_no_row() -> None:
    """Its compiler's imports use what PyTorch calls deprecated, and in the gate a warning is an error."""
    x = torch.linspace(-1, 1, 7)
    assert torch.equal(torch.compile(lambda a: a * 2)(x), x * 2)


def test_strict_products_on_a_card_with_tf32_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile warns of each that it meets."""
    warn = importlib.import_module("torch._inductor.compile_fx")._warn_tf32_disabled
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    warn.cache_clear()
    warn()
    warn.cache_clear()
    with pytest.warns(UserWarning, match="TensorFloat32 tensor cores"):
        warn()


def test_bf16_is_autocast_read_back() -> None:
    assert implementations.precise(TORCH, "bf16", "cpu")["autocast"] == "bfloat16"
    assert "autocast" not in implementations.precise(TORCH, "float32", "cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_tf32_is_of_gpus() -> None:
    with pytest.raises(Unavailable, match="expected a GPU for TF32, got the CPU: ask for bf16"):
        implementations.precise(TORCH, "tf32", "cpu")


@pytest.mark.parametrize(("variant", "states"), [("scratch", "float32"), ("native", "bfloat16")])
def test_a_row_of_bf16_says_so_and_answers_in_float32(variant: str, states: str) -> None:
    task = spec.load("char_lm", cell="lstm", size="tiny")
    impl = implementations.builder(TORCH, variant)(task, "bf16", "cpu")
    path = impl.path()
    assert (path["autocast"], path["states"]) == ("bfloat16", states)  # products alone, or the whole layer
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


def test_a_layer_that_autocast_gives_float16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As cuDNN's is given: the path says what its states came in, beside what was asked for."""
    impl = implementations.builder(TORCH, "native")(spec.load("adding", size="tiny"), "bf16", "cpu")
    network = impl.net

    def half(*given: Any) -> Any:
        logits, hidden, final = network(*given)
        return logits, {name: hs.half() for name, hs in hidden.items()}, final

    for name in ("path", "train", "training"):
        setattr(half, name, getattr(network, name))
    monkeypatch.setattr(impl, "net", half)
    assert (impl.path()["autocast"], impl.path()["states"]) == ("bfloat16", "float16")


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


@pytest.mark.parametrize(("variant", "kept"), [("tuned", 1), ("remat", 0)])
def test_remat_keeps_no_gates_until_the_way_back(
    variant: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = own("loops")
    made = []

    class Watched(loops.Lstm):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(weakref.ref(self))

    monkeypatch.setitem(loops.CELLS, "lstm", Watched)
    task = spec.load("adding", cell="lstm", size="tiny")
    impl: Any = implementations.builder(TORCH, variant)(task, "float64", "cpu")
    impl.load(weights.initial(task, 0))
    placed = impl.place(next(tasks.batches(task, 0)))
    logits, *_ = impl.net(placed, impl._zero_state(task.batch))
    assert sum(cell() is not None for cell in made) == kept
    before = len(made)
    logits.sum().backward()
    assert (len(made) > before) == (variant == "remat")


def run_again(run: Any) -> Any:
    """What a recording does, without a GPU: its warm-up, and at each replay what it recorded."""
    for _ in range(own("graphs").WARM_UP):
        run()
    answer = run().clone()
    return (lambda: answer.copy_(run())), answer


def climb(
    name: str, cell: str, network: str, monkeypatch: pytest.MonkeyPatch, dtype: str = "float64"
) -> list[Level]:
    """All levels of what is recorded on a GPU."""
    graphs = own("graphs")
    monkeypatch.setattr(graphs, "record", run_again)

    def build(task: Task) -> Any:
        implementations.precise(TORCH, dtype, "cpu")
        return graphs.Trainer(task, precision.kept(dtype), "cpu", own(network).Network(task.model))

    own("device").configure("cpu", 1)
    known = reference(spec.load(name, cell=cell, size="tiny"), 0)
    return list(Climb(known, dtype, build).levels())


@pytest.mark.parametrize(
    ("name", "cell", "network"),
    [
        ("char_lm", "lstm", "native"),  # its state is carried; it generates
        ("adding", "gru_reset_before", "tuned"),
        ("names", "lstm", "native"),  # ragged
    ],
)
def test_what_a_gpu_records_climbs_the_ladder(
    name: str, cell: str, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = climb(name, cell, network, monkeypatch)
    assert {level.status for level in levels} == {"passed"}
    assert levels[-1].level >= 5


def test_what_a_gpu_records_of_bf16_climbs_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = climb("char_lm", "lstm", "native", monkeypatch, "bf16")
    assert {level.status for level in levels} <= {"passed", "horizon reached"}
    assert levels[-1].level >= 5


def test_a_recording_that_leaves_its_own_steps_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own("graphs").Trainer, "_as_it_was", lambda self: nullcontext())
    assert climb("char_lm", "rnn", "native", monkeypatch)[-1].status == "failed"


def test_what_a_replay_reads_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = own("graphs")
    monkeypatch.setattr(graphs, "record", run_again)
    task = spec.load("char_lm", cell="lstm", size="tiny")
    impl = graphs.Trainer(task, "float64", "cpu", own("native").Network(task.model))
    impl.load(weights.initial(task, 0))
    one, two = (impl.place(batch) for batch in islice(tasks.batches(task, 0), 2))
    impl.step(one)
    held = {tensor.data_ptr() for tensor in impl._moved()}
    loss = impl.step(two)
    kept = impl.fetch(loss)
    impl.step(one)
    assert held == {tensor.data_ptr() for tensor in impl._moved()}
    assert len(impl._recorded) == 1  # of one form, for both batches
    assert impl.fetch(loss) == kept  # an answer is nobody else's
    impl.load(weights.initial(task, 0))
    assert impl._recorded == {}


def test_on_a_gpu_tuned_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:  # in place of a Trainer, which asks for the GPU
        def __init__(self, task: Task, dtype: str, device: str, net: Any) -> None:
            self.net = net

    tuned = own("tuned")
    monkeypatch.setattr(own("graphs"), "Trainer", Made)
    for cell, of in (("lstm", "native"), ("gru", "native"), ("gru_reset_before", "tuned")):
        made = tuned.build(spec.load("adding", cell=cell, size="tiny"), "float32", "gpu")
        assert type(made) is Made
        assert type(made.net) is own(of).Network
    assert type(tuned.build(spec.load("adding", size="tiny"), "float32", "cpu")) is tuned.Trainer


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru_reset_before"])
@pytest.mark.parametrize("variant", ["scratch", "native", "tuned", "remat"])
def test_a_prompt_of_one_token_is_read(variant: str, cell: str) -> None:
    """Before it there is nothing to read, so the loop over time has no step."""
    task = spec.load("char_lm", cell=cell, size="tiny")
    fixture = make(task, 0)
    batch = fixture.batches[0]._replace(inputs=fixture.batches[0].inputs[:, :1], targets=None)
    written = []
    for folder, of in ((implementations.find("numpy"), "scratch"), (TORCH, variant)):
        impl: Any = implementations.builder(folder, of)(task, "float64", "cpu")
        impl.load(fixture.params)
        written.append(impl.fetch(impl.decode(impl.place(batch), 6)).tolist())
    assert written[0] == written[1]


@pytest.mark.parametrize("able", [(7, 5), (8, 0)])
def test_a_gpu_before_ampere_rounds_nothing_and_that_is_said(
    able: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = own("device")
    monkeypatch.setattr(device, "find", torch.device)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: able)
    if able == (8, 0):
        assert device.precise("tf32", "cuda")["float32 cublas matmul"] == "tf32"
    else:
        with pytest.raises(Unavailable, match=r"got 7\.5: ask for float32"):
            device.precise("tf32", "cuda")
    assert device.precise("float32", "cuda")["float32 cublas matmul"] == "ieee"


@pytest.mark.parametrize(("name", "given"), [("char_lm", "of one length"), ("sentiment", "packed")])
def test_the_path_says_what_cudnn_is_given(name: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    impl = implementations.builder(TORCH, "native")(spec.load(name, cell="lstm"), "float32", "cpu")
    assert "batch" not in impl.path()
    monkeypatch.setattr(own("training"), "KERNELS", {})
    monkeypatch.setitem(impl.net.path, "kernel", "cuDNN")
    assert impl.path()["batch"] == given


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("task", ["adding", "char_lm", "copy_first"])
def test_the_loop_by_hand_is_the_model_and_learns(task: str, cell: str) -> None:
    asked = spec.load(task, cell=cell, size="tiny")
    params = weights.cast(weights.initial(asked, 1), "float32")
    batch = tasks.cast(next(iter(tasks.batches(asked, 1))), "float32")
    hand = implementations.bare(TORCH).build(asked, "cpu", params)
    row = implementations.builder(TORCH, "native")(asked, "float32", "cpu")
    row.load(params)
    expected = row.fetch(row.infer(row.place(batch)))
    assert abs(row.fetch(hand.infer(hand.place(batch))) - expected).max() < 1e-5 * abs(expected).max()
    losses = [hand.step(hand.place(batch)).item() for _ in range(40)]
    assert losses[0] == pytest.approx(row.step(row.place(batch)).item(), rel=1e-5)
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(("task", "cell"), [("names", "lstm"), ("adding", "gru_reset_before")])
def test_the_loop_by_hand_says_what_it_is_not_written_for(task: str, cell: str) -> None:
    asked = spec.load(task, cell=cell, size="tiny")
    with pytest.raises(Unavailable, match=f"got {task}, {cell}"):
        implementations.bare(TORCH).build(asked, "cpu", {})


class Stub:
    """In place of a CUDA graph: it records nothing, and so keeps nothing."""

    def replay(self) -> None: ...


def test_what_a_recorded_floor_multiplies_lives_as_long_as_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording reads and writes memory that it does not hold: freed, it would be another tensor's."""
    device, made, ones, empty = own("device"), [], torch.ones, torch.empty

    class There:  # a GPU, as far as floor looks
        type = "cuda"

    def kept(make: Any) -> Any:
        def on_the_cpu(*shape: int, dtype: Any, device: Any) -> Any:
            made.append(weakref.ref(tensor := make(*shape, dtype=dtype)))
            return tensor

        return on_the_cpu

    monkeypatch.setattr(device, "find", lambda _: There)
    monkeypatch.setattr(torch, "ones", kept(ones))
    monkeypatch.setattr(torch, "empty", kept(empty))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Stub)
    monkeypatch.setattr(torch.cuda, "graph", lambda _: nullcontext())
    floor = device.floor([(2, 3, 4, 5), (1, 3, 4, 6)], "float32", "gpu")
    assert [cell() is not None for cell in made] == 6 * [True]
    floor()
    del floor
    assert [cell() is not None for cell in made] == 6 * [False]


def test_a_driver_that_is_too_old_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(
        Unavailable, match=r"sees none: .* It says: The NVIDIA driver on your system is too old"
    ):
        own("device").find("gpu")
