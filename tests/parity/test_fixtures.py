"""The fixtures can see: each property that keeps the gate from going blind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks, weights
from suites.parity import digests
from suites.parity.comparator import error
from suites.parity.extremes import EXTREMES, extremes, still
from suites.parity.fixtures import POISON, Fixture, counted, make, norms, oracle, poisoned
from suites.parity.reference import answer, perturbed, plan, reference, refuse, travelled
from suites.parity.tolerances import KAPPA_LIMIT, STEPS, roundoff
from suites.spec import PAD

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
