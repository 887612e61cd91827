"""What the ladder asks is seen where it is answered wrongly: at its level, by a number, with a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from suites import spec
from suites.interface import Array, Arrays, Batch
from suites.parity import digests
from suites.parity.comparator import NUMERIC
from suites.parity.fixtures import oracle
from suites.parity.ladder import Climb
from suites.parity.level import LEVELS, Level
from suites.parity.reference import reference
from suites.spec import EOS, PAD, Task

SENTIMENT, SEQ2SEQ, CAPTION, CHAR_LM = "sentiment", "seq2seq", "caption", "char_lm"


class Sound:
    """The oracle; what a subclass overrides is wrong."""

    def __init__(self, task: Task, dtype: str) -> None:
        self.task, self.oracle = task, oracle(task, dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.oracle, name)

    def all(self, change: Callable[[Batch], Batch]) -> Any:
        """Every answer to the batch as changed."""
        asked = ("forward", "loss", "gradients")
        self.__dict__ |= {name: self._changed(getattr(self.oracle, name), change) for name in asked}
        self.place = lambda batch: self.oracle.place(change(batch))
        return self

    def _changed(self, ask: Callable[..., Any], change: Callable[[Batch], Batch]) -> Callable[..., Any]:
        return lambda batch, carry: ask(change(batch), carry)


def dropping_in_evaluation(task: Task, dtype: str) -> Any:
    impl, held = Sound(task, dtype), {}

    def forward(batch: Batch, carry: Arrays) -> Any:
        held["masks"] = batch.masks if batch.masks is not None else held["masks"]
        return impl.oracle.forward(batch._replace(masks=held["masks"]), carry)

    impl.forward = forward
    return impl


def inferring_with_masks(task: Task, dtype: str) -> Any:
    impl = Sound(task, dtype)

    def infer(placed: Batch) -> Array:
        zeros = {f"{at}.{part}": np.zeros((task.batch, task.model.hidden))
                 for at in impl.oracle._layers() for part in task.model.parts}  # fmt: skip
        found: Array = impl.oracle.forward(placed, zeros)["logits"]
        return found

    impl.infer = infer
    return impl


def never_dropping(task: Task, dtype: str) -> Any:
    return Sound(task, dtype).all(lambda batch: batch._replace(masks=None))


def lengths_from_tokens(task: Task, dtype: str) -> Any:
    """Takes the padding token for the padding: right until other tokens stand there."""
    return Sound(task, dtype).all(
        lambda batch: batch._replace(lengths=_until(batch.inputs), target_lengths=batch.target_lengths)
    )


def target_lengths_from_tokens(task: Task, dtype: str) -> Any:
    return Sound(task, dtype).all(
        lambda batch: batch._replace(target_lengths=1 + _until(batch.decoder_inputs[:, 1:]))
    )


def valid_by_target(task: Task, dtype: str) -> Any:
    """Counts in the loss what is not PAD, and lets the network see the lengths."""
    impl = Sound(task, dtype)

    def valid(batch: Batch) -> Array:
        found: Array = batch.targets != PAD
        return found

    impl.oracle._valid = valid  # type: ignore[attr-defined]
    return impl


def _until(tokens: Array) -> Array:
    """The lengths [B] up to the padding at the end of each row."""
    steps = np.arange(1, tokens.shape[1] + 1)
    found: Array = np.maximum(1, ((tokens != PAD) * steps).max(axis=1)).astype(np.int32)
    return found


class Writer(Sound):
    """Decodes as ``wrong`` says, of the oracle's tokens."""

    wrong: Callable[..., Any]

    def decode(self, placed: Batch, steps: int, draws: Array | None = None, temperature: float = 1.0) -> Any:
        return type(self).wrong(self, placed, steps, draws, temperature)


def writer(wrong: Callable[..., Any]) -> Callable[[Task, str], Any]:
    return type("Wrong", (Writer,), {"wrong": wrong})


def beyond_the_end(self: Any, placed: Batch, *asked: Any) -> Array:
    tokens: Array = self.oracle.decode(placed, *asked)
    ended = np.cumsum(tokens == EOS, axis=1) > 0
    return np.where(ended & (tokens == PAD), EOS, tokens)


def always_greedy(self: Any, placed: Batch, steps: int, *sampling: Any) -> Any:
    return self.oracle.decode(placed, steps)


def without_temperature(self: Any, placed: Batch, steps: int, draws: Array | None, temperature: float) -> Any:
    return self.oracle.decode(placed, steps, draws)


def temperature_built_in(
    self: Any, placed: Batch, steps: int, draws: Array | None, temperature: float
) -> Any:
    return self.oracle.decode(placed, steps, draws, 0.8)


def from_the_right_answers(self: Any, placed: Batch, steps: int, *sampling: Any) -> Array:
    tokens: Array = self.oracle.decode(placed, steps, *sampling)
    tokens[:, 0] = placed.targets[:, 0]
    return tokens


def leaving_a_trace(self: Any, placed: Batch, *asked: Any) -> Any:
    tokens = self.oracle.decode(placed, *asked)
    self.oracle.step(placed)
    return tokens


def from_the_carry(self: Any, placed: Batch, *asked: Any) -> Any:
    carry = self.oracle.state
    self.oracle._zero_state = lambda *about: carry
    return self.oracle.decode(placed, *asked)


class ReadingLate(Sound):
    """Writes when the tokens are fetched, by what is in the caller's draws by then."""

    def decode(self, *asked: Any) -> Any:
        return asked

    def fetch(self, value: Any) -> Any:
        return self.oracle.decode(*value) if isinstance(value, tuple) else self.oracle.fetch(value)


@dataclass(frozen=True)
class Defect:
    task: str
    build: Callable[[Task, str], Any]
    level: int
    tensor: str
    where: str


DEFECTS = [
    Defect(SENTIMENT, never_dropping, 1, "hidden.encoder", "forward, carry zero"),
    Defect(SENTIMENT, dropping_in_evaluation, 1, "hidden.encoder", "forward, carry zero, nothing dropped"),
    Defect(SENTIMENT, inferring_with_masks, 1, "logits", "infer, carry zero"),
    Defect(SENTIMENT, lengths_from_tokens, 1, "final.encoder.0.fwd.h", "padding poisoned"),
    Defect(SEQ2SEQ, lengths_from_tokens, 1, "final.encoder.0.fwd.h", "padding poisoned"),
    Defect(CAPTION, target_lengths_from_tokens, 1, "final.decoder.0.fwd.h", "padding poisoned"),
    Defect(CAPTION, valid_by_target, 2, "loss", "loss, carry zero, padding poisoned"),
    Defect(SEQ2SEQ, writer(beyond_the_end), 7, "tokens", "greedy, row"),
    Defect(CAPTION, writer(beyond_the_end), 7, "tokens", "greedy, row"),
    Defect(SEQ2SEQ, writer(from_the_right_answers), 7, "tokens", "greedy, row 0, step 0"),
    Defect(CHAR_LM, writer(always_greedy), 7, "tokens", "sampled at temperature 0.8, row"),
    Defect(CHAR_LM, writer(without_temperature), 7, "tokens", "sampled at temperature 0.8, row"),
    Defect(CHAR_LM, writer(from_the_carry), 7, "tokens", "greedy, row"),
    Defect(CAPTION, writer(leaving_a_trace), 7, "tokens", "sampled at temperature 0.8, row"),
    Defect(CAPTION, ReadingLate, 7, "tokens", "sampled at temperature 0.8, row"),
    Defect(CHAR_LM, writer(temperature_built_in), 7, "tokens", "sampled at temperature 1.25, row"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _any_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the data may be what they are: level 0 has tests of its own."""
    monkeypatch.setattr(digests, "frozen", dict)


def climb(task: str, build: Callable[[Task, str], Any], dtype: str, cell: str = "lstm") -> list[Level]:
    asked = reference(spec.load(task, cell=cell), 0)
    return list(Climb(asked, dtype, lambda given: build(given, dtype)).levels())


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.task} {defect.where}")
def test_a_wrong_answer_is_seen(defect: Defect) -> None:
    last = climb(defect.task, defect.build, "float64")[-1]
    assert (last.level, last.status) == (defect.level, "failed")
    assert last.told is not None
    assert last.told.problem in NUMERIC
    assert last.told.tensor == defect.tensor
    assert defect.where in last.told.where


@pytest.mark.parametrize(
    ("task", "dtype"),
    [
        (SENTIMENT, "float64"),
        (SEQ2SEQ, "float64"),
        (CAPTION, "float64"),
        (CAPTION, "float32"),
        (CHAR_LM, "float32"),
    ],
)
def test_the_sound_one_climbs_to_its_end(task: str, dtype: str) -> None:
    levels = climb(task, Sound, dtype)
    generates = spec.load(task).model.generates
    assert [level.level for level in levels] == [0, 1, 2, 3, 4, 5, *([7] if generates else [])]
    assert all(level.status == "passed" for level in levels)
    if generates:
        assert levels[-1].name == LEVELS[7] == "decode"
        assert levels[-1].told is not None
        counts = levels[-1].detail.split(" tokens")[0].split(" of ")
        assert counts[0] == counts[1] != "0"


def test_a_decoder_alone_is_asked_once() -> None:
    forward = climb(CAPTION, Sound, "float64")[1]
    assert {finding.where for finding in forward.findings if finding.tensor == "hidden.decoder"} == {
        "forward, carry zero",
        "forward, carry zero, padding poisoned",
        "forward, lengths from 1 to the longest",
    }


def test_the_first_tensor_told_is_where_the_error_arose() -> None:
    """The logits, always wrong as well, are told last."""
    for wrong, told in (
        ("final.encoder.0", "final.encoder.0.fwd.h"),
        ("final.encoder.1", "final.encoder.1.fwd.h"),
        ("hidden.encoder", "hidden.encoder"),
        ("logits", "logits"),
    ):

        def build(task: Task, dtype: str, wrong: str = wrong) -> Any:
            impl = Sound(task, dtype)

            def forward(batch: Batch, carry: Arrays) -> Any:
                found = impl.oracle.forward(batch, carry).items()
                return {name: v * 1.01 if name.startswith((wrong, "logits")) else v for name, v in found}

            impl.forward = forward
            return impl

        last = climb(CHAR_LM, build, "float64")[-1]
        assert last.told is not None
        assert last.told.tensor == told


def test_under_the_other_optimiser_in_float64() -> None:
    """A float32 row is asked under its own optimiser only: the other is a question of arithmetic."""
    seen: dict[str, list[str]] = {}
    for dtype in spec.DTYPES:
        built: list[str] = []

        def build(task: Task, dtype: str, built: list[str] = built) -> Any:
            built.append(task.training.optimiser)
            return Sound(task, dtype)

        climb(CHAR_LM, build, dtype)
        seen[dtype] = built
    assert seen == {"float32": ["adam"], "float64": ["adam", "sgd"]}
