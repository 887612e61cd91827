"""The memory pass of one row, in a process of its own: never the timed one.

Peak resident set over the baseline after import and build, from the kernel's own
high-water mark; on a GPU, the allocator's peak and the device total. Run by
``python -m suites.bench``.
"""

from __future__ import annotations

import argparse
import gc
import sys
from itertools import islice
from pathlib import Path

import psutil

from results.errors import UserError
from suites import implementations, recording, selection, tasks, weights
from suites.bench import gpu
from suites.bench.group import only
from suites.interface import Unavailable
from suites.selection import Question

STEPS = 3  # the first allocates, the second meets what the first left behind, the third adds nothing
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
IN_ALL = "device_used_bytes"  # what the whole device has in use after the last step
MIB = 2**20


def high_water() -> int:
    """The kernel's high-water mark of the resident set, in bytes. Raises UserError where it keeps none."""
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":  # bytes there, kilobytes on other systems
        return peak
    return peak * 1024


def reset_high_water() -> bool:
    """Set the mark back to the resident set of now; False where the kernel cannot (not Linux)."""
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def with_total(peak: dict[str, int], device: str) -> dict[str, int]:
    """The allocator's own account, with what the device has in use in all: where the framework does not say
    so the driver does, if there is one to ask."""
    if device == "cpu" or IN_ALL in peak or not gpu.answers():
        return peak
    try:
        used = gpu.sample()["memory_used_mib"]
    except UserError:
        return peak
    return peak | {IN_ALL: int(used * MIB)} if isinstance(used, float) else peak


def measure(question: Question, threads: int) -> dict[str, object]:
    """The body of a memory record. Raises Unavailable or UserError where the row cannot run."""
    row, task = question.row, question.task
    device = implementations.device_module(question.folder)
    build = implementations.builder(question.folder, row.variant)
    settings = device.configure(row.device, threads)
    settings |= implementations.precise(question.folder, row.dtype, row.device)
    batches = [tasks.cast(batch, row.kept) for batch in islice(tasks.batches(task, row.seed), STEPS)]
    params = weights.cast(weights.initial(task, row.seed), row.kept)
    gc.collect()
    reset = reset_high_water()
    baseline = psutil.Process().memory_info().rss
    impl = build(task, row.dtype, row.device)
    impl.load(params)
    for batch in batches:
        impl.step(impl.place(batch))
        impl.sync()
    return {
        "baseline_bytes": baseline,
        "peak_bytes": max(high_water(), baseline),
        "steps": STEPS,
        "device_peak": with_total(dict(device.peak_memory(row.device)), row.device),
        "settings": settings | {"high_water_reset": str(reset)},
    }


def main() -> int:
    """Measure the row that the options select and write its record."""
    parser = argparse.ArgumentParser(prog="python -m suites.bench.memory")
    selection.add_options(parser.add_argument)
    parser.add_argument("--records", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--campaign", required=True)
    options = parser.parse_args()
    try:
        question = only(
            selection.questions(lambda name: getattr(options, name), size="small", dtypes=("float32",))
        )
        body = measure(question, options.threads)
    except (UserError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2
    recording.write(options.records, "memory", question, "ok", "", body, campaign=options.campaign)
    return 0


if __name__ == "__main__":
    sys.exit(main())
