"""NumPy's ``remat``: what it saves; the gate proves what it computes (``nox -s parity-on-request``)."""

from __future__ import annotations

import tracemalloc

import pytest

from suites import implementations, spec, tasks, weights


def peak(variant: str, cell: str) -> int:
    """The most that a training step held at once, and what it left behind, in bytes."""
    task = spec.load("adding", cell=cell, size="small", length=400)
    impl = implementations.builder(implementations.find("numpy"), variant)(task, "float32", "cpu")
    impl.load(weights.initial(task, 0))
    placed = impl.place(next(tasks.batches(task, 0)))
    tracemalloc.start()
    try:
        impl.step(placed)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_less_is_kept_of_a_long_sequence(cell: str) -> None:
    assert peak("remat", cell) < 0.5 * peak("tuned", cell)
