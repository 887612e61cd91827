"""What a child is given: a timed one keeps its memory, one whose memory is measured is left as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from suites.bench.environments import KEEPS_MEMORY, Environment

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


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


def test_a_child_does_not_take_itself_for_a_worker_of_pytest_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert "PYTEST_XDIST_WORKER" not in Environment("numpy", sys.executable, "cpu", 1).variables()
