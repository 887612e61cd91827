"""An implementation, slowed down by a known share: each timed call is followed by a busy wait of that share
of its own duration. Copied into the implementation's folder by ``suites/bench/trials``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Build = Callable[[Any, str, str], Any]


def by(share: float, build: Build) -> Build:
    """``build`` of a variant, what it returns slowed down."""
    return lambda task, dtype, device: Slowed(share, build(task, dtype, device))


class Slowed:
    """The same implementation; a share of 0 runs the same code as any other."""

    def __init__(self, share: float, impl: Any) -> None:
        self.share, self.impl = share, impl

    def __getattr__(self, name: str) -> Any:
        return getattr(self.impl, name)

    def step(self, placed: Any) -> Any:
        return self._followed(self.impl.step, placed)

    def infer(self, placed: Any) -> Any:
        return self._followed(self.impl.infer, placed)

    def decode(self, placed: Any, *how: Any) -> Any:
        return self._followed(self.impl.decode, placed, *how)

    def path(self) -> dict[str, str]:
        """With the share, so that a record says what was planted."""
        return {**self.impl.path(), "slowed_by": str(self.share)}

    def _followed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The device is waited for here, or the wait would hide behind its work."""
        began = time.perf_counter()
        found = call(*arguments)
        self.impl.sync()
        now = time.perf_counter()
        until = now + self.share * (now - began)
        while time.perf_counter() < until:
            pass
        return found
