"""Sequences of one step: nothing comes before, so that a prompt without its last token is empty."""

from __future__ import annotations

import numpy as np
import pytest

from suites import implementations, spec, tasks, weights


@pytest.mark.parametrize("variant", ["scratch", "tuned", "remat"])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before"])
def test_a_prompt_of_one_token_is_read(variant: str, cell: str) -> None:
    """The first token chosen is that of the largest logit after it, from a zero state."""
    task = spec.load("char_lm", cell=cell, length=1)
    build = implementations.builder(implementations.find("numpy"), variant)
    impl = build(task, "float64", "cpu")
    impl.load(weights.initial(task, 0))
    placed = impl.place(next(tasks.batches(task, 0)))
    logits = impl.fetch(impl.infer(placed))
    assert logits.shape == (task.batch, 1, task.model.outputs)
    tokens = impl.fetch(impl.decode(placed, 3))
    assert tokens.shape == (task.batch, 3)
    assert tokens[:, 0].tolist() == np.argmax(logits[:, 0], axis=1).tolist()
    assert np.isfinite(impl.fetch(impl.step(placed)))
