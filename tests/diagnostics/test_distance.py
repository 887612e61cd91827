"""Textbook facts of the gradient against distance, by the oracle in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites import seeds, tasks, weights
from suites.diagnostics.distance import DISTANCE, DISTANCES, HIDDEN, REPEATS, cases, orthogonal, question
from suites.diagnostics.judging import Case
from suites.interface import Array
from suites.parity.fixtures import oracle

SCALES = [0.5, 1.0, 1.5]


def norms(case: Case) -> Array:
    """g(k), by the oracle."""
    impl = oracle(case.fixture.task)
    return DISTANCE.curves(DISTANCE.ask(impl, case.fixture, "float64"))["gradient norm"]


@pytest.fixture(scope="module")
def curves() -> dict[tuple[str, str], Array]:
    return {
        (cell, case.name): norms(case) for cell in ("rnn", "lstm", "gru") for case in cases(cell, 0, SCALES)
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_recurrent_weights_are_orthogonal_to_the_bit(seed: int) -> None:
    Q = orthogonal(seeds.generator(seed, "a test"), HIDDEN)
    assert np.array_equal(Q @ Q.T, np.eye(HIDDEN))
    assert set(np.abs(Q).ravel()) == {1 / np.sqrt(HIDDEN)}
    assert np.array_equal(Q, orthogonal(seeds.generator(seed, "a test"), HIDDEN))
    assert not np.array_equal(Q, orthogonal(seeds.generator(seed + 1, "a test"), HIDDEN))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("scale", SCALES)
def test_every_singular_value_of_every_gate_is_the_scale(cell: str, scale: float) -> None:
    W_hh = cases(cell, 0, [scale])[0].fixture.params["encoder.0.fwd.W_hh"]
    for block in np.split(W_hh.astype(np.float64), W_hh.shape[1] // HIDDEN, axis=1):
        assert np.abs(np.linalg.svd(block)[1] - scale).max() < 1e-14


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_gradient_of_an_rnn_vanishes_no_more_slowly_than_the_largest_singular_value(
    curves: dict[tuple[str, str], Array], scale: float
) -> None:
    """|| d loss / d h_0 || <= |d loss / d z| ||W_hq|| scale^k, and |d loss / d z| = |s(z) - y| < 1."""
    fixture = cases("rnn", 0, [scale])[0].fixture
    head = np.linalg.norm(fixture.params["head.W_hq"].astype(np.float64))
    g = curves["rnn", f"scale {scale:g}"]
    assert (g <= head * scale ** np.arange(1, DISTANCES + 1)).all()
    assert (g > 0).all()
    assert g[-1] == pytest.approx(scale ** (DISTANCES - 1) * g[0], rel=0.1)  # and hardly faster, unsaturated


def test_the_gradient_of_an_rnn_explodes_past_one_until_the_units_saturate(
    curves: dict[tuple[str, str], Array],
) -> None:
    g = curves["rnn", "scale 1.5"]
    assert 0.5 * 1.5**9 < g[9] / g[0] < 1.5**9
    assert g[-1] < 0.01 * 1.5 ** (DISTANCES - 1) * g[0]


def test_a_saturated_rnn_vanishes_however_large_its_weights() -> None:
    case = cases("rnn", 0, [1.5])[0]
    loud = dict(case.fixture.params, **{"encoder.0.fwd.b_h": np.full(HIDDEN, 9, np.float32)})
    assert norms(replace(case, fixture=replace(case.fixture, params=loud)))[-1] < 1e-30


@pytest.mark.parametrize("scale", SCALES)
def test_an_open_forget_gate_keeps_the_gradient_of_an_lstm(
    curves: dict[tuple[str, str], Array], scale: float
) -> None:
    kept, lost = curves["lstm", f"scale {scale:g}, forget bias 3"], curves["lstm", f"scale {scale:g}"]
    assert kept.min() > 0.5 * kept[0]
    assert lost[-1] < 0.01 * lost[0]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_larger_recurrent_weights_keep_more(curves: dict[tuple[str, str], Array], cell: str) -> None:
    ends = [curves[cell, f"scale {scale:g}"][-1] for scale in SCALES]
    assert ends == sorted(ends)
    assert ends[-1] > 100 * ends[0]


@pytest.mark.parametrize(("cell", "k"), [("rnn", 2), ("lstm", 5), ("gru", 10)])
def test_a_point_is_the_derivative_of_the_loss_along_the_first_state(cell: str, k: int) -> None:
    """By a central difference along any direction, without a backward pass."""
    fixture = cases(cell, 0, [1.0])[0].fixture
    impl, batch = oracle(fixture.task), tasks.cast(fixture.batches[0], "float64")
    tensor = DISTANCE.ask(impl, fixture, "float64")["gradient norm"][k - 1]  # [REPEATS, H or 2 H]
    direction = np.random.Generator(np.random.PCG64(k)).standard_normal(tensor.shape)
    rows, step = batch.lengths == k, 1e-4
    zero = weights.cast(fixture.carries["zero"], "float64")
    parts = dict(zip(zero, np.split(direction, len(zero), axis=1), strict=True))

    def loss(step: float) -> float:
        moved = {name: value.copy() for name, value in zero.items()}
        for name, part in parts.items():
            moved[name][rows] = step * part
        return impl.loss(batch, moved)

    slope = (loss(step) - loss(-step)) / (2 * step)
    assert fixture.task.batch / np.sqrt(REPEATS) * slope == pytest.approx(
        (tensor * direction).sum(), rel=1e-4
    )


def test_what_is_asked_is_the_same_every_time_and_another_for_another_seed() -> None:
    first, again, other = (cases("gru", seed, SCALES)[1].fixture.digest() for seed in (0, 0, 1))
    assert first == again != other


def test_the_task_is_sentiments_with_nothing_that_would_blur_a_distance() -> None:
    model = question("lstm").model
    assert (model.layers, model.bidirectional, model.dropout, model.ragged) == (1, False, 0.0, True)
