"""What a child is given: a timed one keeps its memory, one whose memory is measured is left as it is."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from results.provenance import THREAD_VARIABLES
from suites.bench.environments import AS_NEEDED, KEEPS_MEMORY, SOON_IDLE, Environment

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
# 100 MiB taken, written and freed again and again, in the first thread and in another: page faults of the end
FAULTS = """
import ctypes, resource, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def use():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        room = libc.malloc(100 << 20)
        ctypes.memset(room, 1, 100 << 20)
        libc.free(room)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
use()
thread = threading.Thread(target=use)
thread.start()
thread.join()
"""


def test_only_a_timed_child_is_told_to_keep_its_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in KEEPS_MEMORY:
        monkeypatch.delenv(name, raising=False)
    here = Environment("numpy", sys.executable, "cpu", 3)
    untimed = json.loads(here.run("-c", SHOW, timeout=60).stdout)
    with (tmp_path / "timed").open("w+", encoding="utf-8") as output:
        assert here.start("-c", SHOW, output=output, more={"MORE": "as well"}).wait(60) == 0
        output.seek(0)
        timed = json.load(output)
    assert {name: untimed.get(name) for name in KEEPS_MEMORY} == dict.fromkeys(KEEPS_MEMORY)
    assert {name: timed.get(name) for name in KEEPS_MEMORY} == KEEPS_MEMORY
    assert timed["MORE"] == "as well"
    assert timed["OMP_NUM_THREADS"] == untimed["OMP_NUM_THREADS"] == "3"


def test_on_a_gpu_tensorflow_may_say_why_it_fails() -> None:
    levels = {
        device: Environment("tensorflow", sys.executable, device, 1).variables()["TF_CPP_MIN_LOG_LEVEL"]
        for device in ("cpu", "gpu")
    }
    assert levels == {"cpu": "3", "gpu": "2"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have settings of their own")
def test_what_a_timed_child_frees_does_not_come_anew_from_the_system() -> None:
    here = Environment("numpy", sys.executable, "cpu", 1)

    def faults(timed: bool) -> list[int]:
        command, variables = [sys.executable, "-c", FAULTS], here.variables(timed)
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
        return [int(line) for line in done.stdout.split()]

    assert max(faults(timed=True)) < 10
    assert min(faults(timed=False)) > 40  # 25 600 pages of 4 KiB, or 50 of 2 MiB where the system has them so


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_on_a_gpu_memory_is_taken_as_needed_where_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    (name,) = AS_NEEDED
    monkeypatch.delenv(name, raising=False)
    here = Environment("jax", sys.executable, device, 1)
    assert here.variables().get(name) == (AS_NEEDED[name] if device == "gpu" else None)
    assert name not in here.variables(timed=True)


def test_what_a_timed_child_is_told_is_in_its_record() -> None:
    assert {*KEEPS_MEMORY, *SOON_IDLE} <= {*THREAD_VARIABLES}


def test_a_child_does_not_take_itself_for_a_worker_of_pytest_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert "PYTEST_XDIST_WORKER" not in Environment("numpy", sys.executable, "cpu", 1).variables()
