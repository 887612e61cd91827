"""What is decoded can see: texts that differ, end and are compared to their last token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites import spec, tasks, weights
from suites.parity import decoding
from suites.parity.comparator import error
from suites.parity.fixtures import Fixture, make, oracle
from suites.parity.reference import reference
from suites.spec import EOS, PAD

PAIRS = [
    (task, cell) for task in spec.names() for cell in spec.cells(task) if spec.load(task).model.generates
]


@pytest.fixture(params=PAIRS, ids="-".join, scope="module")
def fixture(request: pytest.FixtureRequest) -> Fixture:
    task, cell = request.param
    return make(spec.load(task, cell=cell), 0)


@pytest.fixture(scope="module")
def written(fixture: Fixture) -> decoding.Decoded:
    found = reference(spec.load(fixture.task.name, cell=fixture.task.model.cell), 0).decoded
    assert found is not None
    return found


def sampled(written: decoding.Decoded) -> list[decoding.Text]:
    return [text for text in written.texts.values() if text.draws is not None]


def test_some_rows_end_early_and_some_do_not(fixture: Fixture, written: decoding.Decoded) -> None:
    if fixture.task.model.wiring == "encoder":  # a language model writes on and on
        return
    for text in sampled(written):
        assert set(decoding.ends(text.tokens)) == {True, False}
    for text in written.texts.values():
        for row in text.tokens:
            after = np.flatnonzero(row == EOS)[:1]
            assert all((row[at + 1 :] == PAD).all() for at in after)


def test_the_text_is_no_constant(written: decoding.Decoded) -> None:
    greedy, *others = written.texts.values()
    assert [text.temperature for text in others] == list(decoding.TEMPERATURES)
    assert all(len(np.unique(row)) > 1 for text in others for row in text.tokens)
    assert all((text.tokens != greedy.tokens).any() for text in others)
    assert (others[0].tokens != others[1].tokens).any()


def test_the_text_follows_from_the_logits_that_are_read(fixture: Fixture, written: decoding.Decoded) -> None:
    """Token by token and all at once, as in training, the oracle says the same, wherever its draws lie."""
    learnt = replace(fixture, params=written.params)
    for text in written.texts.values():
        logits = decoding.read(learnt, written.batch, text.tokens)
        assert (logits == text.logits).all()
        if text.draws is None:
            assert (logits.argmax(axis=2) == text.tokens)[~text.ended].all()
        else:
            for draws in (text.draws, text.placed(1e-13), text.placed(1e-6)):
                assert draws is not None
                assert ((draws >= 0) & (draws < 1)).all()
                boundaries = decoding.cumulative(logits, text.temperature)
                chosen = np.minimum((boundaries <= draws[..., None]).sum(axis=2), logits.shape[2] - 1)
                assert (chosen == text.tokens)[~text.ended].all()
        assert (~text.ended).mean() > 0.3


def test_draws_lie_as_near_a_boundary_as_counts(written: decoding.Decoded) -> None:
    """So that logits of half the digits choose other tokens."""
    for text in sampled(written):
        draws = text.placed(1e-13)
        far = decoding.margin(text.logits, draws, text.temperature) / text.least(1e-13)
        near = far < decoding.EDGE * 1.1
        assert (far > decoding.EDGE * 0.9)[~text.ended].all()
        assert near[:, :-1][~text.ended[:, :-1]].mean() > 0.9
        half = text.logits.astype("f4").astype("f8")
        assert draws is not None
        chosen = (decoding.cumulative(half, text.temperature) <= draws[..., None]).sum(axis=2)
        assert (chosen != text.tokens)[near].mean() > 0.2


def test_the_largest_draw_is_drawn_and_stays(written: decoding.Decoded) -> None:
    """It chooses the last token, and one beyond it where sums of probabilities end below 1."""
    for text in sampled(written):
        draws = text.placed(1e-6)
        assert draws is not None
        assert (draws[:, -1] == np.nextafter(1, 0)).all()
        last = text.tokens[:, -1][~text.ended[:, -1]]
        assert (last == text.logits.shape[2] - 1).all()


def test_ties_are_exact_in_every_dtype(fixture: Fixture, written: decoding.Decoded) -> None:
    """Every draw is on a boundary, and the oracle's token is the one past it."""
    ties = written.ties
    n = 1 << (fixture.task.model.outputs.bit_length() - 1)
    assert (ties.draws * n == ties.tokens).all()
    assert len(np.unique(ties.tokens)) >= n - 1
    for dtype in spec.DTYPES:
        impl = oracle(fixture.task, dtype)
        impl.load(weights.cast(ties.params, dtype))
        placed = impl.place(tasks.cast(ties.batch, dtype))
        got = impl.fetch(impl.decode(placed, ties.draws.shape[1], ties.draws, 1.0))
        assert (got == ties.tokens).all()


def test_nearly_every_token_is_compared(written: decoding.Decoded) -> None:
    """With the tolerance of a float32 row, ten times over."""
    for text in written.texts.values():
        assert text.counted(1e-5).mean() > 0.9


def test_a_row_is_compared_until_the_first_thin_margin() -> None:
    logits = np.array([[[0.0, 3.0], [0.0, 1.9], [0.0, 3.0]], [[-100.0, -102.0], [0.0, 3.0], [0.0, 0.0]]])
    text = decoding.Text(logits.argmax(axis=2), logits, np.zeros((2, 3), bool))
    assert text.least(1e-2) > 1.9
    assert text.counted(1e-2).tolist() == [[True, False, False], [False, False, False]]
    assert text.counted(0.98e-2).tolist() == [[True, False, False], [True, True, False]]


def test_a_draw_stays_where_there_is_no_room() -> None:
    """At the last token but one of [0.5, 1e-9, 0.5], and where a row has ended."""
    logits = np.log(np.array([[[0.5, 1e-9, 0.5]] * 3]))
    draws = np.array([[0.5 + 5e-10, 0.1, 0.9]])
    text = decoding.Text(np.array([[1, 0, 2]]), logits, np.array([[False, False, True]]), draws)
    placed = text.placed(1e-6)
    assert placed is not None
    inside = decoding.EDGE * text.least(1e-6)
    assert placed[0, 0] == draws[0, 0]
    assert abs(placed[0, 1] - (0.5 - inside)) < 1e-8
    assert placed[0, 2] == 0.9
    assert text.counted(1e-6).tolist() == [[False, False, False]]


def test_margins() -> None:
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]]))
    greedy = decoding.margin(logits, None)
    assert error(greedy, np.log([[2.0, 3.5]])) < 1e-14
    sure = 0.8 * logits  # undone by the temperature
    sampled = decoding.margin(sure, np.array([[0.45, 0.95]]), 0.8)
    assert error(sampled, np.array([[0.05, 0.65]])) < 1e-14
