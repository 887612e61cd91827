"""The memory pass reads the kernel's own mark."""

from __future__ import annotations

import subprocess
import sys

import pytest

from results.errors import UserError
from suites.bench import gpu, memory

SCRIPT = """
import psutil
from suites.bench import memory
reset = memory.reset_high_water()
before = psutil.Process().memory_info().rss
block = bytearray(64 * 2**20)
for i in range(0, len(block), 4096):
    block[i] = 1
del block
print(reset, memory.high_water() - before)
"""


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="the mark can be reset on Linux only")
def test_a_block_that_came_and_went_is_seen() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    reset, grown = done.stdout.split()
    assert reset == "True"
    # the kernel counts pages in batches, so the mark may be a few short
    assert 63 * 2**20 <= int(grown) < 80 * 2**20


def test_what_a_gpu_has_in_use_in_all_is_told_by_the_driver_where_the_framework_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "answers", lambda: True)
    monkeypatch.setattr(gpu, "sample", lambda: {"memory_used_mib": 3.0})
    own = {"allocated_bytes": 5}
    assert memory.with_total(own, "gpu") == own | {"device_used_bytes": 3 * 2**20}
    assert memory.with_total(own, "cpu") == own
    told = own | {"device_used_bytes": 7}
    assert memory.with_total(told, "gpu") == told


def test_a_driver_that_does_not_answer_costs_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> dict[str, float]:
        raise UserError("no answer")

    for sample in (silent, lambda: {"memory_used_mib": None}):
        monkeypatch.setattr(gpu, "answers", lambda: True)
        monkeypatch.setattr(gpu, "sample", sample)
        assert memory.with_total({"allocated_bytes": 5}, "gpu") == {"allocated_bytes": 5}
    monkeypatch.setattr(gpu, "answers", lambda: False)
    assert memory.with_total({"allocated_bytes": 5}, "gpu") == {"allocated_bytes": 5}
