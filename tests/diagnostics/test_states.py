"""Principal components: what they are, and a sign that rounding does not turn."""

from __future__ import annotations

import numpy as np
import pytest

from suites.diagnostics.pca import components, oriented
from suites.diagnostics.states import STATES, cases, question, trained
from suites.parity.fixtures import oracle


def cloud(axes: np.ndarray, seed: int = 0) -> np.ndarray:
    """200 points, 3 wide along the first axis, 1 along the second, 0.1 else."""
    rng = np.random.Generator(np.random.PCG64(seed))
    widths = np.array([3.0, 1.0, *[0.1] * (len(axes) - 2)])
    return rng.standard_normal((200, len(axes))) * widths @ axes + 5


def test_the_axes_are_the_directions_of_the_greatest_variance() -> None:
    turned = np.linalg.qr(np.random.Generator(np.random.PCG64(1)).standard_normal((5, 5)))[0]
    found = components(cloud(turned), 2)
    assert np.abs(np.abs((found.axes * turned[:2]).sum(axis=1)) - 1).max() < 0.01
    assert np.abs(found.axes @ found.axes.T - np.eye(2)).max() < 1e-14
    assert found.explained == pytest.approx([0.9, 0.1], abs=0.03)
    assert np.abs(found.coordinates.mean(axis=0)).max() < 1e-13


def test_no_variance_is_lost() -> None:
    points = cloud(np.eye(4))
    found = components(points, 4)
    assert found.explained.sum() == pytest.approx(1)
    assert np.abs(found.coordinates @ found.axes + points.mean(axis=0) - points).max() < 1e-12


def first_entry_positive(axes: np.ndarray) -> np.ndarray:
    """A convention that rounding turns: the first entry may be next to nothing."""
    return axes * np.where(axes[:, :1] < 0, -1.0, 1.0)


def test_the_sign_stays_where_another_convention_turns_it() -> None:
    axes = np.array([[1e-9, -0.6, 0.8]])
    moved = axes - np.array([2e-9, 0, 0])
    assert np.abs(oriented(moved) - oriented(axes)).max() < 1e-8
    assert np.abs(first_entry_positive(moved) - first_entry_positive(axes)).max() > 1


def test_either_sign_of_the_decomposition_gives_the_same() -> None:
    axes = np.linalg.qr(np.random.Generator(np.random.PCG64(2)).standard_normal((6, 6)))[0]
    assert np.array_equal(oriented(axes), oriented(-axes))
    assert (oriented(axes).max(axis=1) == np.abs(axes).max(axis=1)).all()


@pytest.fixture(scope="module")
def fixture():  # type: ignore[no-untyped-def]
    return cases("lstm", 0, [])[0]


def test_the_model_is_trained_and_its_weights_are_float32s(fixture) -> None:  # type: ignore[no-untyped-def]
    params = trained(question("lstm"), 0)
    for value in params.values():
        assert np.array_equal(value * 1024, np.round(value * 1024))
    impl, task = oracle(fixture.fixture.task), fixture.fixture.task
    impl.load({name: value.astype(np.float64) for name, value in params.items()})
    batch = fixture.fixture.batches[0]
    zero = {name: value.astype(np.float64) for name, value in fixture.fixture.carries["zero"].items()}
    logits = impl.forward(batch._replace(targets=batch.targets.astype(np.float64)), zero)["logits"]
    assert ((logits > 0) == (batch.targets > 0.5)).mean() >= 0.8
    assert task.model.directions == ("fwd",)


def test_the_states_of_the_two_verdicts_lie_apart(fixture) -> None:  # type: ignore[no-untyped-def]
    """After the last word the first component tells the verdict nearly as well as the model does."""
    tensors = STATES.ask(oracle(fixture.fixture.task), fixture.fixture, "float64")
    first, label = STATES.curves(tensors)["PC 1"], np.array(fixture.labels["label"])
    sentence = np.array(fixture.labels["sentence"])
    last = np.flatnonzero(np.append(np.diff(sentence) != 0, True))
    assert len(last) == fixture.fixture.task.batch
    told = ((first[last] > 0) == label[last]).mean()
    assert max(told, 1 - told) > 0.75


def test_points_are_valid_steps_and_no_padding(fixture) -> None:  # type: ignore[no-untyped-def]
    lengths = fixture.fixture.batches[0].lengths
    assert len(fixture.at) == lengths.sum()
    assert fixture.at[: lengths[0]] == list(range(1, lengths[0] + 1))
