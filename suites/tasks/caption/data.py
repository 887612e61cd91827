"""Caption a scene: a feature vector in, a sentence out, "three small red circles above a square".

A scene has a count, a size, a colour, a shape and perhaps a second shape in some relation to the
first; what is "" is not said, so that sentences differ in length. Each attribute has a code, a
vector drawn once; the features of a scene are the sum of the codes of its attributes, without noise,
as if an encoder of images had made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from suites import seeds
from suites.interface import Array, Batch
from suites.seeds import Floats, Integers
from suites.spec import EOS, Task
from suites.tasks import Facts
from suites.tasks.options import bad, hold_out, words
from suites.tasks.padding import teacher_forced

Scene = tuple[str, ...]  # count, size, colour, shape, relation, second shape
KINDS = ("counts", "sizes", "colours", "shapes", "relations")


@dataclass(frozen=True)
class Source:
    """Every scene, in order: its features, its sentence, and whether it is held out."""

    features: Array  # [scenes, F] float32
    sentences: list[list[int]]  # tokens, without BOS and EOS
    training: Integers  # places of scenes
    held_out: Integers


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, F]: features; targets [B, S]: the sentence and EOS; S is T.

    Raises UserError for words that are not as many as ``outputs``, and for a T that is too short.
    """
    source = _source(task)
    return _drawn(task, source, seeds.generator(seed, "caption", "data"))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """Scenes that training never sees, though each of their words it does; each comes once."""
    source, B = _source(task), task.batch
    rng = seeds.generator(seed, "caption", "held-out")
    order = source.held_out[seeds.permutation(rng, len(source.held_out))]
    return (_batch(task, source, order[k : k + B]) for k in range(0, len(order) - B + 1, B))


def facts(task: Task) -> Facts:
    """Each scene has a sentence of its own: all can be right; one for all is right for one held out."""
    return Facts(optimum=1.0, baseline=1 / len(_source(task).held_out), unit="exact match")


def scenes(task: Task) -> list[Scene]:
    """Every combination of what the data source lists, with and without a second shape. Raises UserError."""
    counts, sizes, colours, shapes, relations = (words(task, kind) for kind in KINDS)
    seconds = [("", ""), *product(relations, shapes)]
    return [(*scene, *second) for *scene, second in product(counts, sizes, colours, shapes, seconds)]


def sentence(scene: Scene, one: str) -> list[str]:
    """The words for a scene; ``one`` is the count of a single shape, without an s: the second shape's too."""
    count, size, colour, shape, relation, other = scene
    noun = shape if count == one else shape + "s"
    return [word for word in (count, size, colour, noun, relation, one if relation else "", other) if word]


def features(scene: Scene, F: int) -> Floats:
    """The sum [F] of the codes of the attributes, each U[-1, 1), the same whatever the seed of the data."""
    names = [(str(place), value) for place, value in enumerate(scene)]
    codes = [seeds.uniform(seeds.generator(0, "caption", "code", *name), -1, 1, (F,)) for name in names]
    total: Floats = np.sum(codes, axis=0)
    return total


@lru_cache(maxsize=4)
def _source(task: Task) -> Source:
    """The task's data source, read and held against its sizes. Raises UserError."""
    every, one = scenes(task), words(task, "counts")[0]
    lines = [sentence(scene, one) for scene in every]
    known = sorted({word for line in lines for word in line})
    longest, O = max(lines, key=len), EOS + 1 + len(known)  # noqa: E741
    if task.model.outputs != O:
        raise bad(task, "outputs", f"{O}: PAD, BOS, EOS and {len(known)} words", task.model.outputs)
    if task.length < (S := len(longest) + 1):
        raise bad(task, "--length", f"{S} or more, for {' '.join(longest)!r} and EOS", task.length)
    tokens = {word: token for token, word in enumerate(known, EOS + 1)}
    return Source(
        np.array([features(scene, task.model.features) for scene in every], np.float32),
        [[tokens[word] for word in line] for line in lines],
        *hold_out(task, np.arange(len(every))),
    )


def _drawn(task: Task, source: Source, rng: np.random.Generator) -> Iterator[Batch]:
    while True:
        at = seeds.integers(rng, 0, len(source.training), (task.batch,))
        yield _batch(task, source, source.training[at])


def _batch(task: Task, source: Source, places: Integers) -> Batch:
    """The scenes at these places [B]."""
    lines = [source.sentences[place] for place in places]
    where = f"data source {task.data.name!r}"
    decoder_inputs, targets, target_lengths = teacher_forced(lines, task.target_length, where)
    return Batch(source.features[places], targets, None, decoder_inputs, target_lengths)
