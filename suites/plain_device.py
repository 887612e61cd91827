"""What the harness takes where a foreign implementation has no ``device.py``: a CPU and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suites.interface import Unavailable

PACKAGES: tuple[str, ...] = ("numpy",)


def configure(device: str, threads: int) -> dict[str, str]:
    """Set nothing; the environment's thread variables stand."""
    if device != "cpu":
        raise Unavailable("the folder has no device.py, so it runs on the CPU only")
    return {"threads": "as the environment says"}


def floor(products: list[tuple[int, int, int, int]], dtype: str, device: str) -> Callable[[], None]:
    """A function that runs just these products in NumPy."""
    operands = [(repeat, np.ones((m, k), dtype), np.ones((k, n), dtype)) for repeat, m, k, n in products]

    def run() -> None:
        for repeat, a, b in operands:
            for _ in range(repeat):
                np.matmul(a, b)

    return run


def wait(answer: Any) -> None:
    """NumPy has finished when it returns."""


def compilations() -> int:
    """NumPy compiles nothing."""
    return 0


def peak_memory(device: str) -> dict[str, int]:
    """A CPU has no allocator of its own to ask."""
    return {}
