"""Is the machine quiet? A fixed reference workload, and what the system says of itself.

Taken by the parent before the blocks of a table and after all, while no child works. What the
system counts (steal, the work of others) covers the time since the sample before, the groups
included; the workload, always the same, tells what that did to the speed of now. Where rows run on
a GPU, what its driver says of it stands beside (``gpu.py``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from suites.bench import gpu

ROUNDS = 30  # of each kind: 60 ms in all on two quiet cores
LEAST, LIMIT_S = 5, 0.5  # on busy ones a product can take 40 times as long: then fewer, but some
SIDE = 512  # of the matrices: 0.27 GFLOP a product, as long as a step of a small row
COPIED = 2**22  # float32 numbers, 16 MiB: beyond the caches of a laptop's core
SINCE = ("seconds", "steal", "others")  # the sample before
THROTTLED = "cpu*/thermal_throttle/core_throttle_count"
CPUS = Path("/sys/devices/system/cpu")
BUSY = ("user", "nice", "system", "irq", "softirq")  # in user and nice guests are counted already


@dataclass(frozen=True)
class Times:
    """Seconds so far: by the clock, of our cores in all kinds of work, stolen from them, and our own,
    that of the children that live and that have ended included."""

    clock: float
    busy: float
    stolen: float | None
    own: float | None


class Watch:
    """Takes one sample after the other, as the body of a record."""

    def __init__(self, threads: int, on_gpu: bool = False) -> None:
        generator = np.random.Generator(np.random.PCG64(0))
        self.a, self.b = (generator.random((SIDE, SIDE)).astype(np.float32) for _ in range(2))
        self.product = np.empty((SIDE, SIDE), np.float32)
        self.source, self.target = np.ones(COPIED, np.float32), np.zeros(COPIED, np.float32)
        self.threads, self.on_gpu = threads, on_gpu
        self.last: Times | None = None
        self.slowed: dict[str, float] = {}  # of the GPU, so far

    def sample(self) -> dict[str, Any]:
        """Seconds of each round of the workload; shares of the cores' time since the sample before."""
        now = times()
        body: dict[str, Any] = shares(self.last, now) if self.last else dict.fromkeys(SINCE)
        body |= {
            "load_average": [round(load, 2) for load in psutil.getloadavg()],
            "cpu_mhz": frequency(),
            "throttled": throttled(),
            **self.workload(),
        }
        body |= {"gpu": self.of_gpu()} if self.on_gpu else {}
        self.last = times()  # what the workload itself took is nobody's noise
        return body

    def of_gpu(self) -> dict[str, Any]:
        """What its driver says of now; as slowed what was so at any time since the sample before, too."""
        found, before, self.slowed = gpu.sample(), self.slowed, gpu.slowed_so_far()
        meanwhile = [why for why, count in self.slowed.items() if count > before.get(why, count)]
        if meanwhile:
            now = found["slowed"] if isinstance(found["slowed"], list) else []
            found["slowed"] = list(dict.fromkeys([*now, *meanwhile]))
        return found

    def workload(self) -> dict[str, list[float]]:
        """Products and copies in turn, after one of each that is not timed."""
        found: dict[str, list[float]] = {"matmul_s": [], "copy_s": []}
        with threadpool_limits(limits=self.threads, user_api="blas"):
            began = time.perf_counter()
            for n in range(ROUNDS + 1):
                if n > LEAST and time.perf_counter() - began > LIMIT_S:
                    break
                matmul = seconds(lambda: np.matmul(self.a, self.b, out=self.product))
                copy = seconds(lambda: np.copyto(self.target, self.source))
                if n:
                    found["matmul_s"].append(matmul)
                    found["copy_s"].append(copy)
        return found


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def times() -> Times:
    """Of the cores that this process may use; None where the system does not count it."""
    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        cores = [cores[at] for at in os.sched_getaffinity(0) if at < len(cores)]
    busy = sum(float(getattr(core, kind, 0.0)) for core in cores for kind in BUSY)
    stolen = sum(float(core.steal) for core in cores) if cores and hasattr(cores[0], "steal") else None
    # elsewhere those of children that have ended are not counted
    own = sum(os.times()[:4]) + alive() if os.name == "posix" else None
    return Times(time.perf_counter(), busy, stolen, own)


def alive() -> float:
    """Seconds that our children, and theirs, have worked so far: those that wait at the table live on."""
    found = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += sum(child.cpu_times()[:4])  # of itself and of its own that have ended
    return found


def shares(before: Times, now: Times) -> dict[str, float | None]:
    """What was stolen, and what others took, as shares of the time of all our cores."""
    whole = (now.clock - before.clock) * len(usable())
    found: dict[str, float | None] = {"seconds": now.clock - before.clock, "steal": None, "others": None}
    if now.stolen is not None and before.stolen is not None:
        found["steal"] = max(0.0, (now.stolen - before.stolen) / whole)
    if now.own is not None and before.own is not None:
        found["others"] = max(0.0, (now.busy - before.busy - (now.own - before.own)) / whole)
    return found


def usable() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def frequency() -> float | None:
    """MHz now; None where it cannot be read."""
    with suppress(OSError, NotImplementedError):
        found: Any = psutil.cpu_freq()  # None on some systems, whatever its type says
        return float(found.current) if found else None
    return None


def throttled() -> int | None:
    """How often cores were slowed for their heat since the system started (Linux on x86), None elsewhere."""
    counts = []
    for path in CPUS.glob(THROTTLED):
        with suppress(OSError, ValueError):
            counts.append(int(path.read_text(encoding="ascii")))
    return sum(counts) if counts else None
