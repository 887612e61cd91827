"""The gradient that reaches a state, against how many steps it lies before the loss.

A gradient that travels back through k steps is multiplied by k Jacobians, so its norm shrinks or grows about
geometrically (Hochreiter 1991; Bengio, Simard and Frasconi 1994). For h' = tanh(x W_xh + h W_hh + b_h) a
Jacobian is at most the largest singular value s of W_hh: below 1 the gradient vanishes, no more slowly than
s^k; above 1 it may explode, as long as the units do not saturate (Pascanu, Mikolov and Bengio 2013,
section 2.1). A gated cell has a path beside W_hh: an LSTM's memory is multiplied by its forget gate f
(Gers, Schmidhuber and Cummins 2000), so a large bias of f keeps the gradient whatever W_hh is.

How it is asked: of the contract's gradients it takes those of the initial state. One ragged batch holds
sequences of every length k from 1 to DISTANCES, REPEATS of each, and the loss stands at their last valid
step; so the gradient of row b's initial state, times the B that the mean divides by, has travelled through
exactly its length in steps, and one call gives the whole curve:

    g(k) = root mean square, over the sequences of length k, of || d loss_b / d (h_0 [, c_0]) ||_2

W_hh is, gate by gate, ``scale`` times an orthogonal matrix, so that every singular value is the scale: a
Hadamard matrix over the root of its order, its rows and columns signed and permuted by a named seed. Its
entries are +-1/4, so that scales like 0.5, 1.0 and 1.5 are exact and no library of linear algebra is asked.
All else is drawn as the benchmark's weights are, a tenth as large: the units begin unsaturated, and what W_hh
does to a gradient is seen before saturation hides it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from suites import seeds, spec, tasks, weights
from suites.diagnostics.judging import Case, Diagnostic, Tensors
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity.fixtures import Fixture
from suites.spec import GATES, PAD, Task

DISTANCES = 30
REPEATS = 4  # sequences of each length
HIDDEN = 16  # a power of 4: the root of a Hadamard matrix's order is exact
EMBEDDING = 8
QUIET = 0.1  # of all weights but W_hh
OPEN = 3.0  # a forget gate of sigmoid(3) = 0.95 forgets over 1 + e^3 = 21 steps
SCALES = [0.5, 1.0, 1.5]


def question(cell: str) -> Task:
    """The task: sentiment's, one layer one way, a sequence of each length."""
    rows = DISTANCES * REPEATS
    task = spec.load("sentiment", cell=cell, size="tiny", length=DISTANCES, batch=rows, hidden=HIDDEN)
    model = replace(task.model, layers=1, bidirectional=False, dropout=0.0, embedding=EMBEDDING)
    return replace(task, size="distance", model=model)


def cases(cell: str, seed: int, scales: list[float]) -> list[Case]:
    """A case a scale; of an LSTM also with an open forget gate."""
    task = question(cell)
    batch, start = sequences(task, seed), weights.carry(task, None)
    biases = [("", None), (f", forget bias {OPEN:g}", OPEN)] if cell == "lstm" else [("", None)]
    found = []
    for words, bias in biases:
        for scale in scales:
            params = scaled(task, seed, scale, bias)
            fixture = Fixture(task, seed, params, {"zero": start}, (batch,))
            found.append(
                Case(f"scale {scale:g}{words}", fixture, list(range(1, DISTANCES + 1)), "distance", {})
            )
    return found


def sequences(task: Task, seed: int) -> Batch:
    """REPEATS sequences of each length 1..DISTANCES: any words, any verdict."""
    rng = seeds.generator(seed, "diagnostics", "distance", "sequences")
    lengths = np.repeat(np.arange(1, DISTANCES + 1, dtype=np.int32), REPEATS)  # [B]
    tokens = seeds.integers(rng, PAD + 1, task.model.vocabulary, (task.batch, task.length)).astype(np.int32)
    tokens[np.arange(task.length) >= lengths[:, None]] = PAD
    targets = seeds.integers(rng, 0, 2, (task.batch, 1)).astype(np.float32)
    return Batch(tokens, targets, lengths)


def scaled(task: Task, seed: int, scale: float, forget_bias: float | None) -> Arrays:
    """The parameters, every singular value of every block of W_hh being ``scale``."""
    cell, H = task.model.cell, task.model.hidden
    params = weights.initial(task, seed, QUIET)
    names = [str(gate) for gate in range(GATES[cell])]
    blocks = [orthogonal(seeds.generator(seed, "diagnostics", "W_hh", cell, gate), H) for gate in names]
    params["encoder.0.fwd.W_hh"] = (scale * np.concatenate(blocks, axis=1)).astype(np.float32)
    if forget_bias is not None:
        params["encoder.0.fwd.b_h"][H : 2 * H] = forget_bias  # i f g o
    return params


def orthogonal(rng: np.random.Generator, H: int) -> Array:
    """An orthogonal matrix [H, H] of entries +-1/sqrt(H); H is a power of 4."""
    block = np.ones((1, 1))
    while len(block) < H:
        block = np.block([[block, block], [block, -block]])  # Sylvester 1867
    rows, columns = seeds.permutation(rng, H), seeds.permutation(rng, H)
    signs = np.where(rng.random((2, H)) < 0.5, -1.0, 1.0)
    mixed: Array = signs[0][:, None] * block[rows][:, columns] * signs[1]
    return mixed / float(np.sqrt(H))


def ask(impl: Implementation, fixture: Fixture, dtype: str) -> Tensors:
    """At each distance the tensor [REPEATS, H, or 2 H of an LSTM] whose norm is g(k)."""
    impl.load(weights.cast(fixture.params, dtype))
    batch = tasks.cast(fixture.batches[0], dtype)
    gradients = impl.gradients(batch, weights.cast(fixture.carries["zero"], dtype))
    parts = [gradients[f"carry.{name}"].astype(np.float64) for name in fixture.carries["zero"]]
    states = fixture.task.batch / np.sqrt(REPEATS) * np.concatenate(parts, axis=1)  # [B, ...]
    return {"gradient norm": np.split(states, DISTANCES)}


DISTANCE = Diagnostic("distance", "sentiment", question, ("rnn", "lstm", "gru"), cases, ask)
