"""What holds for every legal task, tried on random ones: shapes, cells, wirings, lengths, seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from results.errors import UserError
from suites import seeds, spec, tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity import complex_step
from suites.parity.comparator import compare
from suites.parity.fixtures import SCALE, Fixture, around, counted, oracle, poisoned
from suites.parity.ladder import Climb
from suites.parity.level import failure_text
from suites.parity.reference import answered
from suites.parity.tolerances import OPTIMISER_STEPS, Tolerance
from suites.spec import BOS, DTYPES, EOS, Data, Model, Schedule, Task, Training

SEEDS = st.integers(0, 10_000)
LEVELS = 4  # 0 to 3: what needs no training
STRUCTURE = 1e-9  # what these are about is off by far more; rounding by 30 u kappa, 3e-12 where kappa is 1e3


def examples(number: int) -> settings:
    """The same examples in every run, as many as the time allows."""
    return settings(derandomize=True, deadline=None, max_examples=number)


@dataclass(frozen=True)
class Legal:
    """A legal task with its wiring drawn, and its sizes."""

    largest: int = 9
    ragged: bool | None = None
    bidirectional: bool | None = None
    stateful: bool = False


@st.composite
def legal(draw: st.DrawFn, kind: Legal = Legal()) -> Task:
    size = st.integers(1, kind.largest)
    encoder = kind.stateful or kind.bidirectional or draw(st.booleans())
    wiring = "encoder" if encoder else draw(st.sampled_from(["encoder_decoder", "decoder"]))
    ragged = not kind.stateful and (draw(st.booleans()) if kind.ragged is None else kind.ragged)
    tokens = wiring == "encoder_decoder" or (
        wiring == "encoder" and (ragged or kind.stateful or draw(st.booleans()))
    )
    layers = draw(st.integers(1, 3))
    both = draw(st.booleans()) if kind.bidirectional is None else kind.bidirectional
    model = Model(
        cell=draw(st.sampled_from(spec.CELLS)),
        wiring=wiring,
        inputs="tokens" if tokens else "features",
        features=0 if tokens else draw(size),
        vocabulary=draw(st.integers(2, 2 * kind.largest)) if tokens else 0,
        embedding=draw(size) if tokens or not encoder else 0,
        hidden=draw(size),
        layers=layers,
        bidirectional=encoder and not kind.stateful and both,
        dropout=draw(st.sampled_from([0.0, 0.5])) if encoder and layers > 1 else 0.0,
        ragged=ragged,
        outputs=draw(st.integers(1 if encoder else EOS + 2, 2 * kind.largest)),
        head=draw(st.sampled_from(["every", "final"])) if encoder and not kind.stateful else "every",
        loss=draw(st.sampled_from(["squared_error", "cross_entropy", "binary_cross_entropy"]))
        if encoder
        else "cross_entropy",
        generates=not encoder,
    )
    training = Training("adam", 1e-2, 1.0, (0.9, 0.999), 1e-8, kind.stateful)
    spec._cross_check(model, training, Path("drawn"), "drawn", "drawn")
    length = draw(st.integers(2, kind.largest + 3))
    S = 0 if encoder else length if wiring == "decoder" else draw(st.integers(2, kind.largest))
    schedule, data = Schedule(1, 1, 1), Data("drawn", {})
    return Task("drawn", "drawn", draw(size), length, S, model, training, schedule, data)


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """Random ones; where ragged, one sequence at least is whole."""
    model, rng = task.model, seeds.generator(seed, "properties")
    B, T, S, decoder = task.batch, task.length, task.target_length, task.model.wiring != "encoder"

    def integers(low: int, high: int, *shape: int) -> Array:
        return seeds.integers(rng, low, high, shape).astype(np.int32)

    def lengths(longest: int) -> Array:
        found = integers(1, longest + 1, B)
        found[integers(0, B)] = longest
        return found

    while True:
        steps = (B, S) if decoder else (B, T) if model.head == "every" else (B,)
        if model.loss == "cross_entropy":
            targets = integers(0, model.outputs, *steps)
        else:
            targets = integers(0, 2, *steps, model.outputs).astype(np.float32)
        shape = (B, model.features) if model.wiring == "decoder" else (B, T, model.features)
        features = seeds.uniform(rng, -1, 1, shape).astype(np.float32)
        first = np.full((B, 1), BOS, np.int32)
        masks = rng.random((model.layers - 1, B, T, model.width)) >= model.dropout
        yield Batch(
            inputs=integers(0, model.vocabulary, B, T) if model.inputs == "tokens" else features,
            targets=targets,
            lengths=lengths(T) if model.ragged and model.wiring != "decoder" else None,
            decoder_inputs=np.concatenate([first, targets[:, :-1]], axis=1) if decoder else None,
            target_lengths=lengths(S) if model.ragged and decoder else None,
            masks=masks if model.dropout else None,
        )


def question(task: Task, seed: int) -> tuple[Implementation, Batch, Arrays]:
    """The oracle with random weights, a batch and a random carry, in float64."""
    impl = oracle(task)
    impl.load(weights.initial(task, seed, SCALE))
    return (
        impl,
        tasks.cast(next(batches(task, seed)), "float64"),
        weights.cast(weights.carry(task, seed), "float64"),
    )


def rows(batch: Batch, chosen: Array | slice) -> Batch:
    """Some sequences of a batch."""
    masks = None if batch.masks is None else batch.masks[:, chosen]
    return Batch(*(None if array is None else array[chosen] for array in batch[:-1]), masks)


def agree(expected: Arrays, got: Arrays) -> None:
    """The same tensors, but for rounding."""
    found = compare(expected, got, lambda name: Tolerance(STRUCTURE, "structure"), "float64", "here")
    assert [finding for finding in found if finding.error > STRUCTURE] == []


BATCHED = ("logits", "hidden.", "final.", "carry.", "inputs")  # the first axis is the batch's


@examples(15)
@given(legal(), SEEDS)
def test_numpy_passes_levels_0_to_3(task: Task, seed: int) -> None:
    try:
        asked = answered(around(task, seed, islice(batches(task, seed), OPTIMISER_STEPS)))
    except UserError:
        reject()  # a fixture that the gate refuses is no example
    for dtype in DTYPES:
        climb = Climb(asked, dtype, partial(oracle, dtype=dtype))
        for level in islice(climb.levels(), LEVELS):
            assert level.status == "passed", failure_text(level)


@examples(50)
@given(legal(), SEEDS, st.data())
def test_the_order_of_the_batch_does_not_matter(task: Task, seed: int, data: st.DataObject) -> None:
    impl, batch, carry = question(task, seed)
    order = np.array(data.draw(st.permutations(range(task.batch))))
    moved = {name: value[order] for name, value in carry.items()}
    for ask in (impl.forward, impl.gradients):
        expected = {n: v[order] if n.startswith(BATCHED) else v for n, v in ask(batch, carry).items()}
        agree(expected, ask(rows(batch, order), moved))


@examples(50)
@given(legal(), SEEDS)
def test_a_sequence_alone_is_a_batch_of_one(task: Task, seed: int) -> None:
    impl, batch, carry = question(task, seed)
    ones = [slice(b, b + 1) for b in range(task.batch)]
    alone = [(rows(batch, one), {name: value[one] for name, value in carry.items()}) for one in ones]
    forward = [impl.forward(*single) for single in alone]
    agree(impl.forward(batch, carry), {n: np.concatenate([f[n] for f in forward]) for n in forward[0]})
    lengths = counted(batch, task.model)
    shares = np.full(task.batch, 1 / task.batch) if lengths is None else lengths / lengths.sum()
    grads = [
        {name: share * value for name, value in impl.gradients(*single).items()}
        for share, single in zip(shares, alone, strict=True)
    ]
    joined = {n: (np.concatenate if n.startswith(BATCHED) else sum)([g[n] for g in grads]) for n in grads[0]}
    agree(impl.gradients(batch, carry), {name: np.asarray(value) for name, value in joined.items()})


@examples(50)
@given(legal(Legal(stateful=True)), SEEDS, st.data())
def test_chunks_in_turn_are_the_whole(task: Task, seed: int, data: st.DataObject) -> None:
    impl, batch, carry = question(task, seed)
    cut = data.draw(st.integers(1, task.length - 1))

    def chunk(part: slice) -> Batch:
        masks = None if batch.masks is None else batch.masks[:, :, part]
        return Batch(batch.inputs[:, part], batch.targets[:, part], masks=masks)

    first = impl.forward(chunk(slice(cut)), carry)
    second = impl.forward(chunk(slice(cut, None)), {name: first[f"final.{name}"] for name in carry})
    every = {
        name: np.concatenate([first[name], second[name]], axis=1)
        for name in first
        if not name.startswith("final.")
    }
    agree(impl.forward(batch, carry), second | every)


@examples(50)
@given(legal(Legal(ragged=True)), SEEDS)
def test_what_stands_in_the_padding_changes_nothing(task: Task, seed: int) -> None:
    impl, batch, carry = question(task, seed)
    params = weights.initial(task, seed, SCALE)
    bad = poisoned(Fixture(task, seed, params, {"zero": carry}, (batch,)))
    assert bad is not None
    asked: tuple[Callable[[Batch, Arrays], Arrays], ...] = (impl.forward, impl.gradients)
    sound = [ask(batch, carry) for ask in asked]
    impl.load(bad.params)
    for expected, ask in zip(sound, asked, strict=True):
        got = ask(bad.batches[0], carry)
        assert all((got[name] == value).all() for name, value in expected.items())


@examples(50)
@given(legal(Legal(bidirectional=True)), SEEDS)
def test_backward_is_forward_over_the_reversed_input(task: Task, seed: int) -> None:
    task = replace(task, model=replace(task.model, layers=1, dropout=0.0))
    impl, batch, carry = question(task, seed)
    H, T = task.model.hidden, task.length
    both = impl.forward(batch, carry)
    one = replace(task, model=replace(task.model, bidirectional=False))
    params = {name: value.copy() for name, value in impl.dump().items()}
    alone = {n.replace("bwd", "fwd"): v for n, v in params.items() if ".fwd." not in n}
    impl = oracle(one)
    impl.load(alone | {"head.W_hq": params["head.W_hq"][:H]})
    lengths = np.full(task.batch, T) if batch.lengths is None else batch.lengths
    t = np.arange(T)
    mirror = np.where(t < lengths[:, None], lengths[:, None] - 1 - t, t), np.arange(task.batch)[:, None]
    turned = batch._replace(inputs=batch.inputs[mirror[1], mirror[0]])
    backward = {n.replace("bwd", "fwd"): v for n, v in carry.items() if ".bwd." in n}
    got = impl.forward(turned, backward)
    expected = {n.replace("bwd", "fwd"): v for n, v in both.items() if ".bwd." in n}
    expected["hidden.encoder"] = both["hidden.encoder"][mirror[1], mirror[0], H:]
    agree(expected, {name: got[name] for name in expected})


@examples(20)
@given(legal(Legal(largest=3)), SEEDS)
def test_the_oracle_is_its_own_derivative(task: Task, seed: int) -> None:
    params, carry = weights.initial(task, seed, SCALE), weights.carry(task, seed)
    fixture = Fixture(task, seed, params, {"zero": carry}, tuple(islice(batches(task, seed), 1)))
    found = complex_step.errors(fixture)
    worst = max(found, key=found.__getitem__)
    assert found[worst] <= complex_step.TOLERANCE, worst
