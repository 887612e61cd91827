"""The memory pass reads the kernel's own mark."""

from __future__ import annotations

import subprocess
import sys

import pytest

from suites.bench import memory

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
