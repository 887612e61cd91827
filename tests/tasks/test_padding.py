"""Rows of different lengths as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from results.errors import UserError
from suites.tasks.padding import padded, teacher_forced


def test_pad_follows_the_last_token() -> None:
    tokens, lengths = padded([[7, 8, 9], [5]], 4, "here")
    assert tokens.tolist() == [[7, 8, 9, 0], [5, 0, 0, 0]]
    assert lengths.tolist() == [3, 1]
    assert tokens.dtype == lengths.dtype == np.int32


def test_a_decoder_reads_bos_and_writes_eos() -> None:
    inputs, targets, lengths = teacher_forced([[7, 8], [5, 6, 9]], 5, "here")
    assert inputs.tolist() == [[1, 7, 8, 0, 0], [1, 5, 6, 9, 0]]
    assert targets.tolist() == [[7, 8, 2, 0, 0], [5, 6, 9, 2, 0]]
    assert lengths.tolist() == [3, 4]
    assert {array.dtype for array in (inputs, targets, lengths)} == {np.dtype(np.int32)}


@pytest.mark.parametrize("row", [[], [3, 4, 5]])
def test_an_empty_row_and_one_that_is_longer_are_refused(row: list[int]) -> None:
    with pytest.raises(UserError, match=f"here: expected sequences of 1 to 2 tokens, got one of {len(row)}"):
        padded([[3], row], 2, "here")


def test_a_row_must_leave_room_for_eos() -> None:
    assert teacher_forced([[3, 4]], 3, "here")[2].tolist() == [3]
    with pytest.raises(UserError, match="expected sequences of 1 to 2 tokens, got one of 3"):
        teacher_forced([[3, 4]], 2, "here")
