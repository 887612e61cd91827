"""Level 7's question: what the oracle writes by itself, and how sure it is of each token.

The margin of a greedy token is how far the largest logit lies above the next; of a sampled
one, how far its draw lies from the nearest boundary of two tokens. A logit that is off by d
moves the first by at most 2 d, the second by at most d / (2 temperature): a token whose
margin is above 2 d is the same in every implementation.

Draws that come as they come lie far from any boundary, and logits of half the digits pass. So
each is moved, within the token that it chooses, to just so near a boundary that it still counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from suites import seeds, tasks, weights
from suites.interface import Array, Arrays, Batch, Implementation
from suites.parity.fixtures import Fixture, oracle, poisoned
from suites.parity.tolerances import MARGIN
from suites.spec import BOS, EOS, Model

TEMPERATURES = (0.8, 1.25)  # two, so that none may be built in
BEYOND = 2  # steps further than training goes: no length may be built in
ATTEMPTS = 100  # at draws by which one row ends early and another does not
EDGE = 5.0  # how many of the least margins that count a draw lies from a boundary
LARGEST = float(np.nextafter(1, 0))  # of all draws: sums of probabilities that end below it choose token O
UNREACHED = -1e4  # a logit whose probability is zero in every dtype
GREEDY, SAMPLED, TIES = "greedy", "sampled", "sampled, every draw on a boundary"


@dataclass(frozen=True)
class Text:
    """What the oracle writes in one way, and from what."""

    tokens: Array  # [B, steps]
    logits: Array  # [B, steps, O] that each token was taken from
    ended: Array  # [B, steps] bool: where EOS has been, and PAD is no choice
    draws: Array | None = None  # [B, steps] as they came; none where it is greedy
    temperature: float = 1.0

    def least(self, tolerance: float) -> float:
        """The margin below which a token does not count, by the logits' tolerance."""
        return MARGIN * tolerance * float(np.abs(self.logits).max())

    def placed(self, tolerance: float) -> Array | None:
        """[B, steps]: the draws moved to the nearer edge of their tokens, where there is room."""
        if self.draws is None:
            return None
        beyond, boundaries = self.tokens[..., None], cumulative(self.logits, self.temperature)
        low = np.where(self.tokens, np.take_along_axis(boundaries, np.maximum(beyond - 1, 0), 2)[..., 0], 0)
        high = np.take_along_axis(boundaries, beyond, 2)[..., 0]
        inside = EDGE * self.least(tolerance)
        last = self.tokens == self.logits.shape[2] - 1  # 0 and 1 are no boundaries
        up = (self.tokens == 0) | (high - self.draws < self.draws - low) & ~last
        stays = self.ended | (high - low < 3 * inside) | (self.draws == LARGEST)
        moved: Array = np.where(stays, self.draws, np.where(up, high - inside, low + inside))
        return moved

    def counted(self, tolerance: float) -> Array:
        """[B, steps]: the tokens of each row until the oracle's margin is within the logits' tolerance."""
        margins = margin(self.logits, self.placed(tolerance), self.temperature)
        thin = ~self.ended & (margins < self.least(tolerance))
        return ~np.logical_or.accumulate(thin, axis=1)


@dataclass(frozen=True)
class Ties:
    """A question without rounding: n tokens of equal logits, n a power of two, the others out of reach.

    Every boundary is j / n exactly; of a draw on it the token is j.
    """

    params: Arrays
    batch: Batch
    draws: Array  # [B, steps]
    tokens: Array  # [B, steps]


@dataclass(frozen=True)
class Decoded:
    """What is asked, and the oracle's answers: "greedy", and "sampled" at each temperature."""

    params: Arrays  # float32
    batch: Batch
    texts: dict[str, Text]
    stepped: Text  # after a step on the second batch
    ties: Ties


def ask(fixture: Fixture) -> Decoded:
    """Let the oracle write from the fixture's weights and first batch."""
    task, batch = fixture.task, _unread(fixture)
    steps = (task.target_length or task.length) + BEYOND
    impl = oracle(task)
    impl.load(weights.cast(fixture.params, "float64"), weights.cast(fixture.start, "float64"))
    placed = impl.place(tasks.cast(batch, "float64"))
    texts = {GREEDY: _text(fixture, batch, impl.fetch(impl.decode(placed, steps)))}
    for temperature in TEMPERATURES:
        text = _sampled(fixture, batch, impl, placed, steps, temperature)
        texts[f"{SAMPLED} at temperature {temperature}"] = text
    impl.step(impl.place(tasks.cast(fixture.batches[1], "float64")))
    moved = replace(fixture, params=impl.dump())
    stepped = _sampled(moved, batch, impl, placed, steps, TEMPERATURES[0])
    return Decoded(fixture.params, batch, texts, stepped, _ties(fixture, steps))


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


def margin(logits: Array, draws: Array | None, temperature: float = 1.0) -> Array:
    """How far each choice [B, steps] is from another: in logits, or of draws in probability."""
    if draws is None:
        ordered = np.sort(logits, axis=2)
        greedy: Array = ordered[..., -1] - ordered[..., -2]
        return greedy
    boundaries = cumulative(logits, temperature)[..., :-1]
    sampled: Array = np.abs(boundaries - draws[..., None]).min(axis=2)
    return sampled


def cumulative(logits: Array, temperature: float) -> Array:
    """p_0 + ... + p_k [..., O], where each token of a sampling ends."""
    exp = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    sums: Array = np.cumsum(exp / exp.sum(axis=-1, keepdims=True), axis=-1)
    return sums


def _sampled(
    fixture: Fixture, batch: Batch, impl: Implementation, placed: Batch, steps: int, temperature: float
) -> Text:
    """What the oracle writes by draws [B, steps], the largest of all at the last step.

    Of a decoder, the first draws that let one row end early and another not, where any do.
    """
    task = fixture.task
    for attempt in range(ATTEMPTS):
        rng = seeds.generator(fixture.seed, task.name, "draws", str(temperature), str(attempt))
        draws = rng.random((task.batch, steps))
        draws[:, -1] = LARGEST
        tokens = impl.fetch(impl.decode(placed, steps, draws, temperature))
        if task.model.wiring == "encoder" or len(set(ends(tokens))) == 2:
            break
    return replace(_text(fixture, batch, tokens), draws=draws, temperature=temperature)


def _text(fixture: Fixture, batch: Batch, tokens: Array) -> Text:
    return Text(tokens, read(fixture, batch, tokens), _ended(tokens, fixture.task.model))


def _ties(fixture: Fixture, steps: int) -> Ties:
    """From other weights and another batch than the texts. No row ends: EOS is not drawn."""
    task = fixture.task
    O = task.model.outputs  # noqa: E741
    n = 1 << (O.bit_length() - 1)
    params = {name: w[::-1].copy() for name, w in fixture.params.items()}
    params["head.W_hq"] = np.zeros_like(params["head.W_hq"])
    params["head.b_q"] = np.where(np.arange(O) < n, 0, UNREACHED).astype(np.float32)
    drawn = np.array([j for j in range(n) if j != EOS or task.model.wiring == "encoder"])
    tokens = drawn[np.arange(task.batch * steps).reshape(task.batch, steps) % len(drawn)]
    return Ties(params, fixture.batches[1], tokens / n, tokens)


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
