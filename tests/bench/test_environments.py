"""What a child is given: a timed one keeps its memory, one whose memory is measured is left as it is."""

from __future__ import annotations

import json
import sys

import pytest

from suites.bench.environments import KEEPS_MEMORY, Environment

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("timed", [True, False])
def test_only_a_timed_child_is_told_to_keep_its_memory(timed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEEPS_MEMORY:
        monkeypatch.delenv(name, raising=False)
    done = Environment("numpy", sys.executable, "cpu", 3).run("-c", SHOW, timeout=60, timed=timed)
    found = json.loads(done.stdout)
    assert {name: found.get(name) for name in KEEPS_MEMORY} == (
        KEEPS_MEMORY if timed else dict.fromkeys(KEEPS_MEMORY)
    )
    assert found["OMP_NUM_THREADS"] == "3"


def test_a_child_does_not_take_itself_for_a_worker_of_pytest_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert "PYTEST_XDIST_WORKER" not in Environment("numpy", sys.executable, "cpu", 1).variables()
