"""The sampler: a fixed workload, and shares of the time since the sample before, from planted counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.bench import quiet
from suites.bench.quiet import Times, Watch, shares


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "usable", lambda: [0, 1])


def test_samples_follow_one_another() -> None:
    watch = Watch(threads=1)
    first, second = watch.sample(), watch.sample()
    assert first["seconds"] is None
    assert second["seconds"] >= 0
    for body in (first, second):
        assert quiet.LEAST <= len(body["matmul_s"]) == len(body["copy_s"]) <= quiet.ROUNDS
        assert all(value > 0 for value in body["matmul_s"] + body["copy_s"])


def test_a_busy_machine_is_not_kept_busier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "LIMIT_S", 0.0)
    found = Watch(threads=1).workload()
    assert len(found["matmul_s"]) == len(found["copy_s"]) == quiet.LEAST


@pytest.mark.usefixtures("two_cores")
def test_our_own_work_is_not_that_of_others() -> None:
    """10 s of 2 cores: 15 s busy, 14 of them ours."""
    found = shares(Times(0.0, 100.0, 0.0, 50.0), Times(10.0, 115.0, 0.0, 64.0))
    assert found == {"seconds": 10.0, "steal": 0.0, "others": 0.05}


@pytest.mark.usefixtures("two_cores")
def test_what_was_stolen_is_a_share_of_our_cores() -> None:
    assert shares(Times(0.0, 0.0, 3.0, 0.0), Times(10.0, 0.0, 4.0, 0.0))["steal"] == 0.05


@pytest.mark.usefixtures("two_cores")
def test_what_the_system_does_not_count_is_unknown() -> None:
    found = shares(Times(0.0, 0.0, None, None), Times(10.0, 20.0, None, None))
    assert (found["steal"], found["others"]) == (None, None)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX counts the children's time")
def test_our_own_seconds_are_counted() -> None:
    before = quiet.times()
    Watch(threads=1).workload()
    now = quiet.times()
    assert before.own is not None
    assert now.own is not None
    assert now.own > before.own


def test_throttling_is_summed_over_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "CPUS", tmp_path)
    assert quiet.throttled() is None
    for core, count in (("cpu0", "3\n"), ("cpu1", "4\n"), ("cpu2", "what?\n")):
        folder = tmp_path / core / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(count, encoding="ascii")
    assert quiet.throttled() == 7


BUSY = """
import time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
input()
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX counts the children's time")
def test_what_a_child_that_waits_has_worked_is_ours() -> None:
    """Before it has ended, and no less after."""
    before = quiet.times().own
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        waiting = quiet.times().own
        child.communicate("\n")
    ended = quiet.times().own
    assert before is not None
    assert waiting is not None
    assert ended is not None
    assert waiting - before >= 0.28  # the system counts in hundredths
    assert ended - waiting >= -0.02
