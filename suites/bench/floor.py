"""The GEMM floor: the matrix products that a model cannot do without, at its shapes.

Only the products are counted, no gate, no loss, no optimiser. In each layer and direction, of
an encoder or of a decoder that reads gold tokens, the input product is one large product over
all steps; the recurrent ones must come one by one. In decoding all must: a token is read only
once it is chosen. A row's time over the time of these products says how far it is from the limit.

Padding can be done without. So the products of ragged sequences are those of B sequences as
long as they are on average (:func:`valid_lengths`), not of B padded ones: what an implementation
spends on padding is above the floor.
"""

from __future__ import annotations

from collections.abc import Sequence

from suites.interface import Batch
from suites.spec import GATES, Model, Task

Product = tuple[int, int, int, int]
"""(repeat, m, k, n): ``repeat`` products [m, k] @ [k, n], one after the other."""

Lengths = tuple[int, int]
"""(T, S): the steps of the encoder and of the decoder, 0 for the one that is not there."""


def padded_lengths(task: Task) -> Lengths:
    """T and S as the spec has them."""
    return 0 if task.model.wiring == "decoder" else task.length, task.target_length


def valid_steps(task: Task, batch: Batch) -> Lengths:
    """The steps of all sequences of a batch together, those in padding left out."""
    T, S = (len(batch.inputs) * steps for steps in padded_lengths(task))
    if batch.lengths is not None:
        T = int(batch.lengths.sum())
    if batch.target_lengths is not None:
        S = int(batch.target_lengths.sum())
    return T, S


def valid_lengths(task: Task, batches: Sequence[Batch]) -> Lengths:
    """The mean valid T and S of a sequence over the batches, to the nearest whole step."""
    sequences = sum(len(batch.inputs) for batch in batches)
    T, S = (sum(steps) for steps in zip(*(valid_steps(task, batch) for batch in batches), strict=True))
    return round(T / sequences), round(S / sequences)


def inference(task: Task, lengths: Lengths | None = None) -> list[Product]:
    """The products of a forward pass; those of features come first."""
    model, B, (T, S) = task.model, task.batch, lengths or padded_lengths(task)
    decoder = [] if model.wiring == "encoder" else _stack(model, B, S, model.embedding, 1)
    read = B if model.head == "final" else B * (S or T)
    return [*_encoder(task, T), *decoder, (1, read, model.width, model.outputs)]


def training(task: Task, lengths: Lengths | None = None) -> list[Product]:
    """The products of a forward and a backward pass.

    Each product [m, k] @ [k, n] of the forward pass needs two in the backward pass:
    the gradient of its left operand, [m, n] @ [n, k], in the same order of time, and
    of its weights, [k, repeat m] @ [repeat m, n], gathered over all steps. Features
    need no gradient of their own.
    """
    forward, backward = inference(task, lengths), list[Product]()
    features = len(task.model.directions) if task.model.inputs == "features" else 0
    for index, (repeat, m, k, n) in enumerate(forward):
        if index >= features:
            backward.append((repeat, m, n, k))
        backward.append((1, k, repeat * m, n))
    return forward + backward


def decoding(task: Task, tokens: int, lengths: Lengths | None = None) -> list[Product]:
    """The products of so many tokens, chosen one by one, after what can be read at once: the
    encoder's inputs, the features, or the prompt of a language model but for its last token."""
    model, B, (T, _) = task.model, task.batch, lengths or padded_lengths(task)
    read = T - 1 if model.wiring == "encoder" else T
    prompt = _encoder(task, read) if read or model.wiring == "decoder" else []  # of one token, none before it
    step = [*_stack(model, B, 1, model.embedding, 1), (1, B, model.width, model.outputs)]
    return [*prompt, *((tokens, m, k, n) for _, m, k, n in step)]


def flops(products: list[Product]) -> int:
    """Floating-point operations of the products: a multiplication and an addition each."""
    return sum(2 * repeat * m * k * n for repeat, m, k, n in products)


def _encoder(task: Task, T: int) -> list[Product]:
    """Before the decoder or the head: the stack over the inputs, or the bridge."""
    model, B = task.model, task.batch
    if model.wiring == "decoder":
        return [(1, B, model.features, model.hidden)]
    return _stack(model, B, T, model.input_width, len(model.directions))


def _stack(model: Model, B: int, T: int, width: int, D: int) -> list[Product]:
    """The layers over T steps in D directions, ``width`` the inputs of the first."""
    H, G = model.hidden, GATES[model.cell]
    recurrent = [(T, B, H, G * H)]
    if model.cell == "gru_reset_before":  # r must be known before r * h is multiplied
        recurrent = [(T, B, H, 2 * H), (T, B, H, H)]
    found: list[Product] = []
    for k in range(model.layers):
        found += [(1, B * T, width if k == 0 else D * H, G * H)] * D + recurrent * D
    return found
