"""The fixtures can see: each property that keeps the gate from going blind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks, weights
from suites.parity import decoding, digests
from suites.parity.comparator import error
from suites.parity.extremes import EXTREMES, extremes, still
from suites.parity.fixtures import POISON, Fixture, counted, make, norms, oracle, poisoned
from suites.parity.reference import answer, horizon, perturbed, plan, reference, refuse, travelled
from suites.parity.tolerances import HORIZON, KAPPA_LIMIT, STEPS, roundoff
from suites.spec import EOS, PAD

PAIRS = [(task, cell) for task in spec.names() for cell in spec.cells(task)]


@pytest.fixture(params=PAIRS, ids="-".join, scope="module")
def fixture(request: pytest.FixtureRequest) -> Fixture:
    task, cell = request.param
    return make(spec.load(task, cell=cell), 0)


def test_dimensions_are_pairwise_different(fixture: Fixture) -> None:
    task, model = fixture.task, fixture.task.model
    sizes = {"B": task.batch, "T": task.length, "H": model.hidden, "D*H": model.width, "O": model.outputs}
    sizes |= {"I": model.features, "V": model.vocabulary, "E": model.embedding, "S": task.target_length}
    if model.wiring == "decoder":
        del sizes["S"]  # is T
    if not model.bidirectional:
        del sizes["D*H"]  # is H
    if model.generates and model.wiring == "encoder":
        del sizes["V"]  # is O
    if model.features == model.outputs == 1:
        del sizes["O"]  # one value in, one out
    known = [size for size in sizes.values() if size]
    assert len(set(known)) == len(known), sizes
    assert task.length >= 3


def test_lengths_are_ragged(fixture: Fixture) -> None:
    task, first = fixture.task, fixture.batches[0]
    lengths = [first.lengths, first.target_lengths]
    assert any(found is not None for found in lengths) == task.model.ragged
    assert any(found is not None and len(set(found)) > 1 for found in lengths) == task.model.ragged
    for found, longest in zip(lengths, (task.length, task.target_length), strict=True):
        assert found is None or 1 <= found.min() <= found.max() <= longest


def test_masks_drop_and_keep(fixture: Fixture) -> None:
    masks = [batch.masks for batch in fixture.batches if batch.masks is not None]
    assert len(masks) == (STEPS if fixture.task.model.dropout else 0)
    for mask in masks:
        assert abs(mask.mean() - (1 - fixture.task.model.dropout)) < 0.15
    assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_weights_are_distinct_and_no_bias_is_zero(fixture: Fixture) -> None:
    for name, value in fixture.params.items():
        assert len(np.unique(value)) == value.size, name
        assert (np.abs(value) > 1e-4).mean() > 0.9, name
    every = np.concatenate([value.ravel() for value in fixture.params.values()])
    assert len(np.unique(every)) == every.size


def test_one_carry_is_zero_and_one_is_not(fixture: Fixture) -> None:
    assert all((part == 0).all() for part in fixture.carries["zero"].values())
    assert all((part != 0).all() for part in fixture.start.values())


def test_a_decoder_alone_has_no_carry_and_is_asked_once(fixture: Fixture) -> None:
    alone = fixture.task.model.wiring == "decoder"
    assert list(fixture.carries) == (["zero"] if alone else ["zero", "random"])
    assert bool(fixture.start) != alone


def test_tokens_repeat_and_some_are_absent(fixture: Fixture) -> None:
    model, batch = fixture.task.model, fixture.batches[0]
    for tokens, kinds in ((batch.inputs, model.vocabulary), (batch.decoder_inputs, model.outputs)):
        if tokens is not None and tokens.dtype == np.int32:
            counts = np.bincount(tokens.ravel(), minlength=kinds)
            assert counts.max() > 1
            assert counts.min() == 0


def test_poison_is_in_the_padding_and_nowhere_else(fixture: Fixture) -> None:
    bad, model, sound = poisoned(fixture), fixture.task.model, fixture.batches[0]
    if bad is None:
        assert not model.ragged
        return
    lengths = {"inputs": sound.lengths, "decoder_inputs": sound.target_lengths}
    lengths["targets"] = counted(sound, model)
    for name, old, new in zip(sound._fields, sound, bad.batches[0], strict=True):
        if lengths.get(name) is None:
            assert new is old
            continue
        assert new.dtype == old.dtype
        assert ((new != old).reshape(*old.shape[:2], -1).any(axis=2) == _beyond(lengths[name], old)).all()
    poison = 0
    for name, embed in (("inputs", "embed"), ("decoder_inputs", "decoder.embed")):
        strange = np.flatnonzero((bad.params.get(embed, np.zeros((1, 1))) == POISON).all(axis=1))
        for token in strange:
            tokens = getattr(bad.batches[0], name)
            assert (tokens == token).any()
            assert (_beyond(lengths[name], tokens) | (tokens != token)).all()
        poison += strange.size
    assert poison >= 1


def test_the_oracle_does_not_see_the_poison(fixture: Fixture) -> None:
    bad = poisoned(fixture)
    if bad is not None:
        for dtype in spec.DTYPES:
            sound, got = (answer(oracle(f.task, dtype), f, dtype) for f in (fixture, bad))
            for part in ("forward", "loss", "gradients"):
                for case, tensors in getattr(sound, part).items():
                    if EXTREMES in case:
                        continue  # there the padding is read
                    for name, value in tensors.items():
                        assert (getattr(got, part)[case][name] == value).all(), (part, case, name)


def test_the_extremes_are_the_shortest_and_the_longest_and_read_pad(fixture: Fixture) -> None:
    cases = extremes(fixture, "float64")
    assert list(cases) == ([EXTREMES] if fixture.task.model.ragged else [])
    for batch, carry in cases.values():
        for lengths, inputs, longest in (
            (batch.lengths, batch.inputs, fixture.task.length),
            (batch.target_lengths, batch.decoder_inputs, fixture.task.target_length),
        ):
            if lengths is not None:
                assert lengths.dtype == np.int32
                assert {1, longest} <= set(lengths.tolist())
                assert (inputs[~_beyond(lengths, inputs)] == PAD).any()
        assert all((part != 0).all() for part in carry.values())


def test_a_step_without_a_gradient_has_none(fixture: Fixture) -> None:
    asked = still(fixture)
    assert (asked is None) == (fixture.task.model.loss != "squared_error")
    if asked is not None:
        params, batch = asked
        impl = oracle(fixture.task)
        impl.load(weights.cast(params, "float64"))
        grads = impl.gradients(tasks.cast(batch, "float64"), weights.cast(fixture.start, "float64"))
        assert all((g == 0).all() for g in grads.values())


def test_what_a_level_asks_of_padding_can_fail(fixture: Fixture) -> None:
    """Where lengths are not told, the poison is seen."""
    bad = poisoned(fixture)
    if bad is None:
        return
    blind = [
        replace(f, batches=(f.batches[0]._replace(lengths=None, target_lengths=None), *f.batches[1:]))
        for f in (fixture, bad)
    ]
    sound, got = (answer(oracle(f.task), f, "float64") for f in blind)
    assert got.loss["carry zero"]["loss"] != sound.loss["carry zero"]["loss"]


def _beyond(lengths: np.ndarray, array: np.ndarray) -> np.ndarray:
    beyond: np.ndarray = np.arange(array.shape[1]) >= lengths[:, None]
    return beyond


def test_clipping_is_active_and_idle_within_the_first_steps(fixture: Fixture) -> None:
    for optimiser, _ in plan(fixture):
        found = norms(fixture, optimiser)
        active = [norm > fixture.task.training.clip for norm in found]
        assert any(active), (optimiser, found)
        assert not all(active), (optimiser, found)


def test_both_dtypes_start_from_the_same_numbers(fixture: Fixture) -> None:
    floats = [*fixture.params.values(), *fixture.start.values()]
    floats += [batch.inputs for batch in fixture.batches if fixture.task.model.inputs == "features"]
    assert all(array.dtype == np.float32 for array in floats)


def test_the_digest_is_frozen_and_sees_one_bit(fixture: Fixture) -> None:
    assert not digests.check(fixture).failed
    name = next(iter(fixture.params))
    moved = fixture.params[name].copy()
    moved.flat[0] = np.nextafter(moved.flat[0], np.float32(9))
    changed = replace(fixture, params=fixture.params | {name: moved})
    assert digests.check(changed).failed


def test_another_shape_has_no_frozen_digest() -> None:
    own = make(spec.load("adding"), 0)
    asked = [spec.load("adding", batch=6), spec.load("adding", length=6), spec.load("adding", hidden=6)]
    others = [make(task, 0) for task in asked]
    assert len({digests.key(one) for one in [own, *others]}) == 4
    assert "digests.json" in digests.check(own).origin
    assert all("no frozen digest" in digests.check(one).origin for one in others)


def test_the_digest_sees_every_array_of_every_batch(fixture: Fixture) -> None:
    sound, last = fixture.digest(), fixture.batches[-1]
    for name, array in zip(last._fields, last, strict=True):
        if array is not None:
            moved = array.copy()
            moved.flat[-1] = 1 - moved.flat[-1] if array.dtype != bool else not moved.flat[-1]
            changed = last._replace(**{name: moved})
            assert replace(fixture, batches=(*fixture.batches[:-1], changed)).digest() != sound, name


def test_well_conditioned(fixture: Fixture) -> None:
    known = reference(spec.load(fixture.task.name, cell=fixture.task.model.cell), 0)
    assert max(known.kappa.values()) < KAPPA_LIMIT / 10
    assert len(fixture.batches) == STEPS


def test_an_ill_conditioned_fixture_is_refused(fixture: Fixture) -> None:
    with pytest.raises(UserError, match=r"refused.*condition number of at most 1000, got 1e\+04 for logits"):
        refuse({"logits": 1e4, "loss": 1.0}, fixture)


def test_weights_four_times_larger_are_refused_for_a_long_rnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suites.parity.fixtures.SCALE", 8.0)
    make.cache_clear()
    reference.cache_clear()
    try:
        with pytest.raises(UserError, match="refused"):
            reference(spec.load("adding", cell="rnn", length=60), 0)
    finally:
        make.cache_clear()
        reference.cache_clear()


def test_a_perturbation_is_one_ulp(fixture: Fixture) -> None:
    for dtype in spec.DTYPES:
        moved = perturbed(fixture, 0, dtype)
        for name, value in fixture.params.items():
            assert (moved.params[name] != value).all()
            assert error(moved.params[name], value) <= 2 * 2 * roundoff(dtype)
        for was, now in zip(fixture.batches[0], moved.batches[0], strict=True):
            floats = was is fixture.batches[0].inputs and was.dtype == np.float32
            assert (now[was != 0] != was[was != 0]).all() if floats else now is was


def test_the_answers_stand_in_the_order_in_which_an_error_travels() -> None:
    names = ["logits", "hidden.decoder", "hidden.encoder", "final.decoder.0.fwd.h", "final.decoder.1.fwd.h"]
    names += ["final.encoder.1.fwd.h", "final.encoder.0.fwd.h"]
    assert list(travelled(dict.fromkeys(names, np.zeros(1)), 2)) == [
        "final.encoder.0.fwd.h",
        "hidden.encoder",
        "final.encoder.1.fwd.h",
        "final.decoder.0.fwd.h",
        "hidden.decoder",
        "final.decoder.1.fwd.h",
        "logits",
    ]


# what is decoded


@pytest.fixture(scope="module")
def written(fixture: Fixture) -> decoding.Decoded | None:
    """None where nothing is."""
    if not fixture.task.model.generates:
        return None
    return reference(spec.load(fixture.task.name, cell=fixture.task.model.cell), 0).decoded


def sampled(written: decoding.Decoded) -> list[decoding.Text]:
    return [text for text in written.texts.values() if text.draws is not None]


def test_some_rows_end_early_and_some_do_not(fixture: Fixture, written: decoding.Decoded | None) -> None:
    if written is None or fixture.task.model.wiring == "encoder":
        return
    for text in sampled(written):
        assert set(decoding.ends(text.tokens)) == {True, False}
    for text in written.texts.values():
        for row in text.tokens:
            after = np.flatnonzero(row == EOS)[:1]
            assert all((row[at + 1 :] == PAD).all() for at in after)


def test_the_text_is_no_constant(written: decoding.Decoded | None) -> None:
    if written is not None:
        greedy, *others = written.texts.values()
        assert [text.temperature for text in others] == list(decoding.TEMPERATURES)
        assert all(len(np.unique(row)) > 1 for text in others for row in text.tokens)
        assert all((text.tokens != greedy.tokens).any() for text in others)
        assert (others[0].tokens != others[1].tokens).any()


def test_the_text_follows_from_the_logits_that_are_read(
    fixture: Fixture, written: decoding.Decoded | None
) -> None:
    """Token by token and all at once, as in training, the oracle says the same, wherever its draws lie."""
    if written is None:
        return
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


def test_draws_lie_as_near_a_boundary_as_counts(written: decoding.Decoded | None) -> None:
    """So that logits of half the digits choose other tokens."""
    if written is None:
        return
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


def test_the_largest_draw_is_drawn_and_stays(written: decoding.Decoded | None) -> None:
    """It chooses the last token, and one beyond it where sums of probabilities end below 1."""
    if written is None:
        return
    for text in sampled(written):
        draws = text.placed(1e-6)
        assert draws is not None
        assert (draws[:, -1] == np.nextafter(1, 0)).all()
        last = text.tokens[:, -1][~text.ended[:, -1]]
        assert (last == text.logits.shape[2] - 1).all()


def test_ties_are_exact_in_every_dtype(fixture: Fixture, written: decoding.Decoded | None) -> None:
    """Every draw is on a boundary, and the oracle's token is the one past it."""
    if written is None:
        return
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


def test_nearly_every_token_is_compared(written: decoding.Decoded | None) -> None:
    """With the tolerance of a float32 row, ten times over."""
    if written is not None:
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


def test_the_horizon_is_where_the_oracle_strays() -> None:
    envelope = [{"w": HORIZON / 2, "m.w": 1.0}, {"w": HORIZON, "m.w": 1.0}, {"w": HORIZON * 1.01, "m.w": 1.0}]
    assert horizon(envelope, {"w": np.ones(1)}) == 2
    assert horizon(envelope[:2], {"w": np.ones(1)}) == 2
