"""Sequences of different lengths as arrays: PAD after the last token, the lengths beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.errors import UserError
from suites.interface import Array
from suites.spec import BOS, EOS, PAD


def padded(rows: Sequence[Sequence[int]], length: int, where: str) -> tuple[Array, Array]:
    """tokens [B, length] and lengths [B], int32. Raises UserError for a row that is empty or longer."""
    tokens = np.full((len(rows), length), PAD, np.int32)
    for b, row in enumerate(rows):
        if not 1 <= len(row) <= length:
            raise UserError(f"{where}: expected sequences of 1 to {length} tokens, got one of {len(row)}.")
        tokens[b, : len(row)] = row
    return tokens, np.array([len(row) for row in rows], np.int32)


def teacher_forced(rows: Sequence[Sequence[int]], length: int, where: str) -> tuple[Array, Array, Array]:
    """decoder_inputs and targets [B, S], target_lengths [B], int32, S = ``length``.

    The targets are the row and EOS; the inputs, one token behind, are BOS and the row.
    Raises UserError for a row that does not fit with its EOS.
    """
    inputs, _ = padded([[BOS, *row] for row in rows], length, where)
    targets, lengths = padded([[*row, EOS] for row in rows], length, where)
    return inputs, targets, lengths
