"""Which language is a name from? Names with tell-tale endings by default, surnames as real data.

The endings: class c of C is drawn with probability 2 (c + 1) / (C (C + 1)), the length is uniform in
1..T. A name is letters drawn one by one, each as likely as the others, and one of its class's
endings, of 1, 2, ... ``endings`` letters, each as likely; of it all, the last so many letters.

Real data: one file a language, one name a line. Letters are brought to ASCII: ``replaced`` first, then
accents off (Unicode's NFD without its marks), white space around the name off.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

import numpy as np

from results.errors import UserError
from suites import seeds
from suites.interface import Array, Batch
from suites.seeds import Floats
from suites.spec import PAD, Task
from suites.tasks import Facts, fetch
from suites.tasks.options import bad, option
from suites.tasks.sequences import (
    Line,
    Sequences,
    in_order,
    majority,
    numbered,
    shuffled,
    sides,
    split,
)


def batches(task: Task, seed: int) -> Iterator[Batch]:
    """inputs [B, T] int32, PAD beyond lengths [B]; targets [B] int32: the class."""
    if "url" not in task.data.options:
        return _draw(task, seeds.generator(seed, "names", "data"))
    training, _ = _real_names(task)
    return map(_batch, shuffled(task, training, seed))


def held_out(task: Task, seed: int) -> Iterator[Batch]:
    """The same, drawn apart (a short name may come in both); or the real names never trained on, once."""
    if "url" not in task.data.options:
        return _draw(task, seeds.generator(seed, "names", "held-out"))
    _, held = _real_names(task)
    return map(_batch, in_order(task, held))


def facts(task: Task) -> Facts:
    """The accuracy of the best possible answer, and of always answering the most frequent class.

    Real names: the second of all that are held out; nobody knows the first.
    """
    if "url" in task.data.options:
        return Facts(float("nan"), majority(_real_names(task)[1].labels), "accuracy")
    p = shares(task.model.outputs)
    return Facts(bayes_accuracy(p, endings(task), _letters(task), task.length), float(p.max()), "accuracy")


def shares(C: int) -> Floats:
    """P(class) [C]."""
    weights = np.arange(1, C + 1)
    found: Floats = weights / weights.sum()
    return found


def endings(task: Task) -> Array:
    """[C, K, K]: of ending k of a class, of k + 1 letters, the last k + 1; letters count from 0.

    The same for every seed: they are the task.
    """
    C, K = task.model.outputs, option(task, "endings", int)
    return seeds.integers(seeds.generator(0, "names", "endings"), 0, _letters(task), (C, K, K))


def bayes_accuracy(p: Floats, endings: Array, letters: int, T: int) -> float:
    """What is right most often of all that can be answered, exactly.

    Only the last K letters can tell, and the length cannot. P(class, last K letters) is a sum over
    the class's endings, the letters before an ending equally likely; of a name of n < K letters, the sum over
    those that are cut off. The best answer is the likeliest class: sum over n of P(n), over the
    last min(n, K) letters of the maximum over classes.
    """
    C, K, _ = endings.shape
    P = np.zeros((C, *[letters] * K))
    for c in range(C):
        for k in range(K):
            free = K - (k + 1)  # letters before the ending
            at = (c, *[slice(None)] * free, *endings[c, k, free:])
            P[at] += p[c] / K / letters**free
    right = []  # of names of 1, 2, ... K letters
    for n in range(1, K + 1):
        seen = P.sum(axis=tuple(range(1, 1 + K - n)))  # [C, letters, ...], n letters
        right.append(float(seen.max(axis=0).sum()))
    total: float = sum(right[min(n, K) - 1] for n in range(1, T + 1))
    return total / T


def _letters(task: Task) -> int:
    """How many letters there are: every token but PAD."""
    return task.model.vocabulary - PAD - 1


def _draw(task: Task, rng: np.random.Generator) -> Iterator[Batch]:
    p, table, B, T = shares(task.model.outputs), endings(task), task.batch, task.length
    K = table.shape[1]
    below = np.cumsum(p)[:-1]
    while True:
        classes = np.searchsorted(below, rng.random(B), side="right")  # [B]
        lengths = seeds.integers(rng, 1, T + 1, (B,))
        k = seeds.integers(rng, 0, K, (B,))
        letters = seeds.integers(rng, 0, _letters(task), (B, max(T, K)))  # a name stands at the right end
        is_ending = np.arange(K) >= K - 1 - k[:, None]  # [B, K]
        letters[:, -K:] = np.where(is_ending, table[classes, k], letters[:, -K:])
        # the last so many letters, from the left
        at = np.arange(T) + letters.shape[1] - lengths[:, None]  # [B, T]
        valid = np.arange(T) < lengths[:, None]
        name = np.take_along_axis(letters, np.where(valid, at, 0), axis=1)
        tokens = np.where(valid, name + PAD + 1, PAD)
        yield _batch(Sequences(tokens.astype(np.int32), lengths.astype(np.int32), classes.astype(np.int32)))


def _batch(drawn: Sequences) -> Batch:
    return Batch(drawn.tokens, drawn.labels, drawn.lengths)


def _real_names(task: Task) -> tuple[Sequences, Sequences]:
    """The names that are trained on, and those that are held out. Raises UserError."""
    found, C = fetch.texts(task.data.options), task.model.outputs
    if len(found) != C:
        raise bad(task, "files", f"{C}, one a class (outputs)", len(found))
    replaced = task.data.options.get("replaced", {})
    lines = [
        line for label, (file, text) in enumerate(found.items()) for line in read(file, text, label, replaced)
    ]
    index = _index(task)
    training, held = split(task, lines)
    return sides(task, training, held, lambda line: encoded(line, index))


def _index(task: Task) -> dict[str, int]:
    """The token of each character of the alphabet. Raises UserError for an alphabet of another size."""
    alphabet = option(task, "alphabet", str)
    index = {character: token for token, character in enumerate(alphabet, PAD + 1)}
    if not len(alphabet) == len(index) == _letters(task):
        expected = f"{_letters(task)} characters (vocabulary without padding), each once"
        raise bad(task, "alphabet", expected, f"{len(alphabet)}, {len(index)} of them different")
    return index


def read(file: str, text: str, label: int, replaced: Mapping[str, str]) -> list[Line]:
    """The names of a file, in ASCII. Raises UserError for a line without one."""
    found = []
    for number, line in numbered(text):
        name = ascii_of(line.strip(), replaced)
        if not name:
            raise UserError(f"{file}, line {number}: expected a name, got {line!r}.")
        found.append(Line(f"{file}, line {number}", name, label))
    return found


def ascii_of(name: str, replaced: Mapping[str, str]) -> str:
    """The name with these letters replaced, and without accents."""
    plain = "".join(replaced.get(letter, letter) for letter in unicodedata.normalize("NFC", name))
    parts = unicodedata.normalize("NFD", plain)
    return "".join(letter for letter in parts if unicodedata.category(letter) != "Mn")


def encoded(line: Line, index: Mapping[str, int]) -> list[int]:
    """The tokens of a name. Raises UserError for a character outside the alphabet."""
    strange = [character for character in line.text if character not in index]
    if strange:
        raise UserError(
            f"{line.where}: expected one of the {len(index)} characters of the data source's alphabet, "
            f"got {strange[0]!r} in {line.text!r}. Mend the line, or add it to alphabet and vocabulary."
        )
    return [index[character] for character in line.text]
