"""What holds for every legal task, tried on random ones: shapes, cells, seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from results.errors import UserError
from suites import spec, tasks, weights
from suites.interface import Arrays, Batch
from suites.parity import complex_step
from suites.parity.comparator import compare
from suites.parity.fixtures import oracle
from suites.parity.ladder import Climb
from suites.parity.level import failure_text
from suites.parity.reference import Reference, reference
from suites.parity.tolerances import conditioned
from suites.spec import DTYPES, Task

SEEDS = st.integers(0, 10_000)
LEVELS = 4  # 0 to 3: what needs no training


def examples(number: int) -> settings:
    """The same examples in every run, as many as the time allows."""
    return settings(derandomize=True, deadline=None, max_examples=number)


@st.composite
def legal(draw: st.DrawFn, largest: int = 9, stateful: bool = False) -> Task:
    """A task with a random cell and random sizes up to ``largest``."""
    names = [name for name in spec.names() if spec.load(name).training.stateful or not stateful]
    name = draw(st.sampled_from(names))
    task = spec.load(name, cell=draw(st.sampled_from(spec.cells(name))))
    size = st.integers(1, largest)
    model, data = replace(task.model, hidden=draw(size)), task.data
    if model.inputs == "tokens":
        V = draw(st.integers(2, 2 * largest))
        model = replace(model, vocabulary=V, embedding=draw(size), outputs=V)
        data = replace(data, options={**data.options, "vocabulary": V, "characters": 2000})
    length = draw(st.integers(2, largest + 3))
    return replace(task, size="drawn", batch=draw(size), length=length, model=model, data=data)


def known(task: Task, seed: int) -> Reference:
    """The reference; a fixture that the gate refuses is no example."""
    try:
        return reference(task, seed)
    except UserError:
        reject()


def question(asked: Reference) -> tuple[Batch, Arrays]:
    """The first batch and the random carry, in float64."""
    fixture = asked.fixture
    return tasks.cast(fixture.batches[0], "float64"), weights.cast(fixture.carries["random"], "float64")


def agree(asked: Reference, expected: Arrays, got: Arrays) -> None:
    """Within the tolerance of levels 1 and 3, tensor by tensor."""
    found = compare(expected, got, conditioned(asked.kappa), "float64", "here")
    assert [finding for finding in found if finding.failed] == []


BATCHED = ("logits", "hidden.", "final.", "carry.", "inputs")  # the first axis is the batch's


@examples(45)
@given(legal(), SEEDS)
def test_numpy_passes_levels_0_to_3(task: Task, seed: int) -> None:
    asked = known(task, seed)
    for dtype in DTYPES:
        climb = Climb(asked, dtype, partial(oracle, dtype=dtype))
        for level in islice(climb.levels(), LEVELS):
            assert level.status == "passed", failure_text(level)


@examples(30)
@given(legal(), SEEDS, st.data())
def test_the_order_of_the_batch_does_not_matter(task: Task, seed: int, data: st.DataObject) -> None:
    asked = known(task, seed)
    batch, carry = question(asked)
    order = np.array(data.draw(st.permutations(range(task.batch))))
    shuffled = Batch(batch.inputs[order], batch.targets[order])
    moved = {name: value[order] for name, value in carry.items()}
    impl = oracle(asked.fixture.task)
    impl.load(asked.fixture.params)
    for ask in (impl.forward, impl.gradients):
        expected = {n: v[order] if n.startswith(BATCHED) else v for n, v in ask(batch, carry).items()}
        agree(asked, expected, ask(shuffled, moved))


@examples(30)
@given(legal(), SEEDS)
def test_a_sequence_alone_is_a_batch_of_one(task: Task, seed: int) -> None:
    asked = known(task, seed)
    batch, carry = question(asked)
    ones = [slice(b, b + 1) for b in range(task.batch)]
    alone = [
        (Batch(batch.inputs[one], batch.targets[one]), {name: value[one] for name, value in carry.items()})
        for one in ones
    ]
    impl = oracle(asked.fixture.task)
    impl.load(asked.fixture.params)
    forward = [impl.forward(*single) for single in alone]
    agree(asked, impl.forward(batch, carry), {n: np.concatenate([f[n] for f in forward]) for n in forward[0]})
    grads = [impl.gradients(*single) for single in alone]
    joined = {n: (np.concatenate if n.startswith(BATCHED) else sum)([g[n] for g in grads]) for n in grads[0]}
    mean = {name: np.asarray(value) / task.batch for name, value in joined.items()}
    agree(asked, impl.gradients(batch, carry), mean)


@examples(30)
@given(legal(stateful=True), SEEDS, st.data())
def test_chunks_in_turn_are_the_whole(task: Task, seed: int, data: st.DataObject) -> None:
    asked = known(task, seed)
    batch, carry = question(asked)
    cut = data.draw(st.integers(1, task.length - 1))
    impl = oracle(asked.fixture.task)
    impl.load(asked.fixture.params)
    first = impl.forward(Batch(batch.inputs[:, :cut], batch.targets[:, :cut]), carry)
    state = {name: first[f"final.{name}"] for name in carry}
    second = impl.forward(Batch(batch.inputs[:, cut:], batch.targets[:, cut:]), state)
    every = {
        name: np.concatenate([first[name], second[name]], axis=1)
        for name in first
        if not name.startswith("final.")
    }
    agree(asked, impl.forward(batch, carry), second | every)


@examples(30)
@given(legal(largest=4), SEEDS)
def test_the_oracle_is_its_own_derivative(task: Task, seed: int) -> None:
    found = complex_step.errors(known(task, seed).fixture)
    worst = max(found, key=found.__getitem__)
    assert found[worst] <= complex_step.TOLERANCE, worst
