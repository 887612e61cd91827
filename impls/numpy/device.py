"""Threads, versions and the matrix-product floor of NumPy."""

import cProfile
import pstats
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from suites.interface import Unavailable

PACKAGES = ("numpy",)


def configure(device, threads):
    """Set the BLAS threads and say what was read back."""
    if device != "cpu":
        raise Unavailable(f"NumPy runs on the CPU only, not on {device!r}")
    threadpool_limits(limits=threads, user_api="blas")
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "threads": str(max((pool["num_threads"] for pool in blas), default=1)),
        "blas": ", ".join(f"{pool['internal_api']} {pool['version']}" for pool in blas) or "unknown",
        "denormals": "kept",
    }


def floor(products, dtype, device):
    """A function that runs just these products: (repeat, m, k, n) is repeat times [m, k] @ [k, n]."""
    operands = [
        (repeat, np.ones((m, k), dtype), np.ones((k, n), dtype), np.empty((m, n), dtype))
        for repeat, m, k, n in products
    ]

    def run():
        for repeat, a, b, out in operands:
            for _ in range(repeat):
                np.matmul(a, b, out=out)

    return run


def profile(call):
    """Seconds of a call by function, without those it calls; products and ufuncs count to who calls them."""
    seen = cProfile.Profile()
    seen.runcall(call)
    found: dict = {}
    stats: dict = pstats.Stats(seen).stats  # type: ignore[attr-defined]
    for (file, line, name), (_, _, own, *_) in stats.items():
        where = f"{Path(file).name}:{line} {name}" if line else name
        found[where] = found.get(where, 0.0) + own
    return found


def compilations():
    """NumPy compiles nothing."""
    return 0


def peak_memory(device):
    """A CPU has no allocator of its own to ask."""
    return {}
