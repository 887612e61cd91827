"""Level 7's question: what the oracle writes by itself, and how sure it is of each token.

The margin of a greedy token is how far the largest logit lies above the next; of a sampled
one, how far its draw lies from the nearest boundary of two tokens. A logit that is off by d
moves the first by at most 2 d, the second by at most d / (2 temperature): a token whose
margin is above 2 d is the same in every implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suites import seeds, tasks, weights
from suites.interface import Array, Arrays, Batch
from suites.parity.fixtures import Fixture, oracle, poisoned
from suites.parity.tolerances import MARGIN
from suites.spec import BOS, EOS, Model

TEMPERATURE = 0.8
BEYOND = 2  # steps further than training goes: no length may be built in
ATTEMPTS = 100  # at draws by which one row ends early and another does not
GREEDY, SAMPLED = "greedy", "sampled"


@dataclass(frozen=True)
class Decoded:
    """What is asked, and the oracle's answers, "greedy" and "sampled"."""

    params: Arrays  # float32
    batch: Batch
    draws: Array  # [B, steps]
    tokens: Arrays  # [B, steps]
    margins: Arrays  # [B, steps]
    scales: dict[str, float]  # max|logits|

    def counted(self, case: str, tolerance: float) -> Array:
        """[B, steps]: the tokens of each row until the oracle's margin is within the logits' tolerance."""
        thin = self.margins[case] < MARGIN * tolerance * self.scales[case]
        return ~np.logical_or.accumulate(thin, axis=1)


def ask(fixture: Fixture) -> Decoded:
    """Let the oracle write from the fixture's weights and first batch.

    Of a decoder, by the first draws that let one row end early and another not, where any do.
    """
    task, batch = fixture.task, _unread(fixture)
    steps = (task.target_length or task.length) + BEYOND
    impl = oracle(task)
    impl.load(weights.cast(fixture.params, "float64"))
    placed = impl.place(tasks.cast(batch, "float64"))
    tokens = {GREEDY: impl.fetch(impl.decode(placed, steps))}
    for attempt in range(ATTEMPTS):
        rng = seeds.generator(fixture.seed, task.name, "draws", str(attempt))
        draws = rng.random((task.batch, steps))
        tokens[SAMPLED] = impl.fetch(impl.decode(placed, steps, draws, TEMPERATURE))
        if task.model.wiring == "encoder" or len(set(ends(tokens[SAMPLED]))) == 2:
            break
    margins, scales = {}, {}
    for case, written in tokens.items():
        logits = read(fixture, batch, written)
        margins[case] = np.where(
            _ended(written, task.model), np.inf, margin(logits, draws if case == SAMPLED else None)
        )
        scales[case] = float(np.abs(logits).max())
    return Decoded(fixture.params, batch, draws, tokens, margins, scales)


def ends(tokens: Array) -> list[bool]:
    """Whether each row ends before the last step."""
    found: list[bool] = (tokens[:, :-1] == EOS).any(axis=1).tolist()
    return found


def read(fixture: Fixture, batch: Batch, tokens: Array) -> Array:
    """The oracle's logits [B, steps, O] that each of these tokens was taken from, by teacher forcing."""
    impl, steps = oracle(fixture.task), tokens.shape[1]
    impl.load(weights.cast(fixture.params, "float64"))
    before = tokens[:, :-1].astype(np.int32)
    if fixture.task.model.wiring == "encoder":
        asked = batch._replace(inputs=np.concatenate([batch.inputs, before], axis=1), masks=None)
    else:
        first = np.full((len(tokens), 1), BOS, np.int32)
        asked = batch._replace(decoder_inputs=np.concatenate([first, before], axis=1), target_lengths=None)
    carry = weights.cast(fixture.carries["zero"], "float64")
    return impl.forward(tasks.cast(asked, "float64"), carry)["logits"][:, -steps:]


def margin(logits: Array, draws: Array | None) -> Array:
    """How far each choice [B, steps] is from another: in logits, or of draws in probability."""
    if draws is None:
        ordered = np.sort(logits, axis=2)
        greedy: Array = ordered[..., -1] - ordered[..., -2]
        return greedy
    exp = np.exp((logits - logits.max(axis=2, keepdims=True)) / TEMPERATURE)
    boundaries = np.cumsum(exp / exp.sum(axis=2, keepdims=True), axis=2)[..., :-1]
    sampled: Array = np.abs(boundaries - draws[..., None]).min(axis=2)
    return sampled


def _unread(fixture: Fixture) -> Batch:
    """The first batch, all that ``decode`` must not read changed: padding, and the right answers."""
    batch = (poisoned(fixture) or fixture).batches[0]
    gold = {name: getattr(batch, name) for name in ("targets", "decoder_inputs")}
    return batch._replace(**{name: np.roll(a, 1, axis=0) for name, a in gold.items() if a is not None})


def _ended(tokens: Array, model: Model) -> Array:
    """[B, steps]: where a row's EOS has been, and its PAD is no choice."""
    if model.wiring == "encoder":
        return np.zeros(tokens.shape, bool)
    ends = np.cumsum(tokens == EOS, axis=1)
    ended: Array = ends - (tokens == EOS) > 0
    return ended
