"""What the textbooks say of recurrent networks (D2L, chapters 9 and 10), held against this project's own."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from suites import implementations, seeds, spec, tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity.comparator import error
from suites.parity.tolerances import roundoff
from suites.spec import CELLS, DTYPES, GATES, Model, Task
from suites.tasks import fetch

FEW = 8  # units of roundoff: what another order of summation may cost


def built(task: Task, params: Arrays, dtype: str) -> Implementation:
    """NumPy's implementation of the task, at these parameters."""
    impl = implementations.builder(implementations.find("numpy"), "scratch")(task, dtype, "cpu")
    impl.load(weights.cast(params, dtype))
    return impl


def side_by_side(x: Array, h: Array, params: Arrays) -> Array:
    """[X, H] [W_xh; W_hh]: one product, of inputs and state beside each other."""
    W = np.concatenate([params["encoder.0.fwd.W_xh"], params["encoder.0.fwd.W_hh"]])  # [I + H, H]
    return np.concatenate([x, h], axis=1) @ W


# D2L 9.4.2: one product of the concatenation is the sum of two products


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenating_inputs_and_state_is_the_same_as_two_products(dtype: str) -> None:
    rng = seeds.generator(0, "textbook", "concatenation")
    B, I, H = 5, 3, 7  # noqa: E741
    x, h, W_xh, W_hh = (
        seeds.uniform(rng, -1, 1, shape).astype(dtype) for shape in ((B, I), (B, H), (I, H), (H, H))
    )
    one = side_by_side(x, h, {"encoder.0.fwd.W_xh": W_xh, "encoder.0.fwd.W_hh": W_hh})
    two = x @ W_xh + h @ W_hh
    assert error(one, two) <= FEW * roundoff(dtype)
    swapped = side_by_side(x, h, {"encoder.0.fwd.W_xh": W_xh, "encoder.0.fwd.W_hh": W_hh.T})
    assert error(swapped, two) > FEW * roundoff(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_implementation_runs_as_the_concatenation_does(dtype: str) -> None:
    task = spec.load("adding", cell="rnn")
    params = weights.cast(weights.initial(task, 0), dtype)
    batch = tasks.cast(next(tasks.batches(task, 0)), dtype)
    carry = weights.cast(weights.carry(task, 0), dtype)
    hs = built(task, params, dtype).forward(batch, carry)["hidden.encoder"]
    h = carry["encoder.0.fwd.h"]
    for t in range(task.length):
        h = np.tanh(side_by_side(batch.inputs[:, t], h, params) + params["encoder.0.fwd.b_h"])
        assert error(h, hs[:, t]) <= FEW * roundoff(dtype)


# D2L 9.5: a character model's targets are its inputs, one character on


def test_the_targets_of_machin_are_achine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, alphabet = "machine m", " aceihmn"
    (tmp_path / "machine.txt").write_text(text, encoding="utf-8")
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))
    source = {
        "vocabulary": str(len(alphabet)),
        "alphabet": f'"{alphabet}"',
        "training_share": "0.8",  # of nine characters the first seven
        "file": '"machine.txt"',
        "url": '"https://example.org/machine.txt"',
        "sha256": f'"{hashlib.sha256(text.encode()).hexdigest()}"',
    }
    lines = "".join(f"{key} = {value}\n" for key, value in source.items())
    original = (spec.TASKS / "char_lm" / "task.toml").read_text(encoding="utf-8")
    path = tmp_path / "task.toml"
    path.write_text(f"{original}\n[data.machine]\n{lines}", encoding="utf-8")
    task = dataclasses.replace(spec.load(str(path), data="machine", length=6), batch=1)
    batch = next(tasks.batches(task, 0))
    assert "".join(alphabet[token] for token in batch.inputs[0]) == "machin"
    assert "".join(alphabet[token] for token in batch.targets[0]) == "achine"


# D2L 10.1, 10.2: the number of parameters


def count(model: Model) -> int:
    return sum(math.prod(shape) for shape in weights.shapes(model).values())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", spec.names())
def test_the_parameters_are_as_many_as_the_formula_says(name: str, cell: str) -> None:
    """A layer in one direction: G (I H + H^2 + H), H more for b_hn; D H O + O in the head."""
    for size in spec.sizes(name):
        model = dataclasses.replace(spec.load(name, size=size).model, cell=cell)
        H, E, O, L = model.hidden, model.embedding, model.outputs, model.layers  # noqa: E741
        D = 2 if model.bidirectional else 1
        b_hn = H if cell == "gru" else 0
        first, other = (GATES[cell] * (I * H + H * H + H) + b_hn for I in (model.input_width, D * H))  # noqa: E741
        encoder = D * (first + (L - 1) * other)
        if model.wiring == "decoder":
            encoder = model.features * H + H  # the bridge
        if model.wiring != "encoder":
            encoder += O * E + GATES[cell] * (E * H + H * H + H) + b_hn + (L - 1) * other
        assert count(model) == model.vocabulary * E + encoder + D * H * O + O


@pytest.mark.parametrize(("cell", "layer"), [("rnn", 16_768), ("lstm", 67_072), ("gru", 50_432)])
def test_counts_by_hand_at_the_papers_size(cell: str, layer: int) -> None:
    """Adding at I = 2, H = 128: 128 (2 + 128 + 1) a gate; the head's 129; 128 of b_hn."""
    assert count(spec.load("adding", cell=cell, size="paper").model) == layer + 129


@pytest.mark.parametrize("cell", CELLS)
def test_the_parameter_count_does_not_grow_with_the_length(cell: str) -> None:
    short, long = (spec.load("adding", cell=cell, length=length) for length in (10, 400))
    assert weights.shapes(short.model) == weights.shapes(long.model)
    params = weights.initial(short, 0)
    impl = built(long, params, "float32")
    impl.step(impl.place(next(tasks.batches(long, 0))))  # the parameters of the one serve the other
    assert {name: w.shape for name, w in impl.dump().items()} == weights.shapes(short.model)


# D2L 10.3: a deep narrow stack against a shallow wide one


def test_a_deep_narrow_stack_has_fewer_parameters_than_a_shallow_wide_one() -> None:
    """256 LSTM units over E = 64: 4 layers of 4 (64 + 64 + 1) 64, or one of 4 (64 + 256 + 1) 256."""
    base = dataclasses.replace(spec.load("char_lm", cell="lstm", size="small").model, embedding=64)
    deep, wide = (dataclasses.replace(base, layers=layers, hidden=H) for layers, H in ((4, 64), (1, 256)))
    in_stack = {
        model: sum(
            math.prod(shape) for name, shape in weights.shapes(model).items() if name.startswith("encoder")
        )
        for model in (deep, wide)
    }
    assert in_stack[deep] == 4 * 4 * (64 + 64 + 1) * 64 == 132_096
    assert in_stack[wide] == 4 * (64 + 256 + 1) * 256 == 328_704


def test_a_layer_reads_the_states_of_the_layer_below() -> None:
    """Two layers are the upper one run over the hidden states of the lower one."""
    rng = seeds.generator(0, "textbook", "stack")
    base = spec.load("adding", cell="gru")
    deep = dataclasses.replace(base, model=dataclasses.replace(base.model, layers=2))
    params, batch = weights.initial(deep, 0), next(tasks.batches(base, 0))
    carry = weights.carry(deep, 0)
    lower = built(base, {name: w for name, w in params.items() if ".1." not in name}, "float64")
    hs = lower.forward(tasks.cast(batch, "float64"), carry)["hidden.encoder"]
    over = dataclasses.replace(base, model=dataclasses.replace(base.model, features=base.model.hidden))
    upper = built(over, renamed({name: w for name, w in params.items() if ".0." not in name}), "float64")
    above = renamed({name: part for name, part in carry.items() if ".1." in name})
    one_by_one = upper.forward(batch._replace(inputs=hs), above)["logits"]
    at_once = built(deep, params, "float64").forward(tasks.cast(batch, "float64"), carry)["logits"]
    assert error(one_by_one, at_once) <= FEW * roundoff("float64")
    other = seeds.uniform(rng, -1, 1, hs.shape)
    assert error(upper.forward(batch._replace(inputs=other), above)["logits"], at_once) > 0.01


def renamed(arrays: Arrays) -> Arrays:
    """The second layer's arrays as a first layer's."""
    return {name.replace("encoder.1.", "encoder.0."): value for name, value in arrays.items()}


# D2L 10.1.1: one step of an LSTM, by hand


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def tanh(a: float) -> float:
    return (math.exp(a) - math.exp(-a)) / (math.exp(a) + math.exp(-a))


def test_one_step_of_an_lstm_by_hand() -> None:
    """I = 2, H = 1: x = (1, 0.5), h = 0.2, c = 0.4."""
    i = sigmoid(0.5 * 1 + 0.25 * 0.5 + 0.1 * 0.2 + 0.05)  # 0.695
    f = sigmoid(-0.3 * 1 + 0.6 * 0.5 + 0.2 * 0.2 + 1)  # 1.04
    g = tanh(0.8 * 1 - 0.4 * 0.5 - 0.7 * 0.2 + 0)  # 0.46
    o = sigmoid(0.1 * 1 + 0.9 * 0.5 + 0.3 * 0.2 - 0.1)  # 0.51
    c = f * 0.4 + i * g
    h = o * tanh(c)
    logit = 2 * h - 0.5

    small = spec.load("adding", cell="lstm")
    task = dataclasses.replace(
        small, batch=1, length=1, model=dataclasses.replace(small.model, hidden=1, outputs=1)
    )
    params = {
        "encoder.0.fwd.W_xh": np.array([[0.5, -0.3, 0.8, 0.1], [0.25, 0.6, -0.4, 0.9]]),  # i f g o
        "encoder.0.fwd.W_hh": np.array([[0.1, 0.2, -0.7, 0.3]]),
        "encoder.0.fwd.b_h": np.array([0.05, 1.0, 0.0, -0.1]),
        "head.W_hq": np.array([[2.0]]),
        "head.b_q": np.array([-0.5]),
    }
    batch = Batch(np.array([[[1.0, 0.5]]]), np.array([[0.0]]))
    carry = {"encoder.0.fwd.h": np.array([[0.2]]), "encoder.0.fwd.c": np.array([[0.4]])}
    answer = built(task, params, "float64").forward(batch, carry)
    limit = FEW * roundoff("float64")
    assert error(answer["final.encoder.0.fwd.c"], np.array([[c]])) <= limit
    assert error(answer["final.encoder.0.fwd.h"], np.array([[h]])) <= limit
    assert error(answer["hidden.encoder"], np.array([[[h]]])) <= limit
    assert error(answer["logits"], np.array([[logit]])) <= limit
    assert (round(c, 6), round(h, 6)) == (0.58244, 0.327671)
