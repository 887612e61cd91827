"""What the harness costs is seen: planted costs fail, and the loops differ by nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats

from suites.bench import overhead
from suites.recording import ROOT

ROW = [
    "--impl",
    "numpy",
    "--variant",
    "scratch",
    "--task",
    "adding",
    "--cell",
    "lstm",
    "--size",
    "tiny",
    "--threads",
    "1",
]

# Loaded by pytest in the child. A busy wait of as long as each call lasts, in the harness alone:
SLOW = """
import time
from suites.bench import group

plain = group.Sample.__call__

def slow(self):
    began = time.perf_counter()
    plain(self)
    until = 2 * time.perf_counter() - began
    while time.perf_counter() < until:
        pass

group.Sample.__call__ = slow
"""
# Noise of a busy machine is no matter of this test.
LENIENT = """
from suites.bench import overhead

overhead.BAR = 1e9
"""


# A result is under way from the call until someone waits, as on a GPU.
UNDER_WAY = (
    LENIENT
    + """
from suites.bench import group

plain, bare, under_way = group.Sample.__init__, overhead.bare, []

def planted(self, call, sync, iterations, fetch):
    plain(self, lambda: under_way.append(call()), lambda: (sync(), under_way.clear()), iterations, fetch)

def checked(group, what, loop=None):
    assert not under_way, f"{len(under_way)} result(s) under way"
    return bare(group, what)

group.Sample.__init__, overhead.bare = planted, checked
"""
)


def run(folder: Path, plugin: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "planted.py").write_text(plugin, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "suites.bench.overhead", *ROW, *arguments],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": str(folder), "PYTEST_ADDOPTS": "-p planted"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def medians(output: str) -> dict[str, float]:
    found = re.findall(r"^(\w+): ([\d.]+) \(.* times the bare loop, 12 pairs$", output, re.MULTILINE)
    return {what: float(text) for what, text in found}


def test_a_harness_that_costs_much_is_seen(tmp_path: Path) -> None:
    done = run(tmp_path, SLOW, "--pairs", "12")
    assert done.returncode == 1, done.stdout + done.stderr
    found = medians(done.stdout)
    assert set(found) == {"train", "infer"}
    assert min(found.values()) > 1.3
    assert "expected the interval within 0.99 to 1.01" in done.stdout


def test_both_loops_run_the_same_work(tmp_path: Path) -> None:
    done = run(tmp_path, LENIENT, "--pairs", "12")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(medians(done.stdout)) == {"train", "infer"}


def test_one_work_alone(tmp_path: Path) -> None:
    done = run(tmp_path, LENIENT, "--pairs", "12", "--work", "infer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(medians(done.stdout)) == {"infer"}


def test_nothing_measured_is_under_way_when_the_next_begins(tmp_path: Path) -> None:
    """pytest-benchmark calls once more after the rounds."""
    done = run(tmp_path, UNDER_WAY, "--pairs", "12")
    assert done.returncode == 0, done.stdout + done.stderr
    unmended = "group.Sample.measured = lambda self, benchmark, rounds: "
    unmended += "[benchmark.pedantic(self, rounds=rounds, iterations=self.iterations), 1.0][1:]"
    done = run(tmp_path, UNDER_WAY + unmended, "--pairs", "12")
    assert "1 result(s) under way" in done.stdout


def test_too_few_pairs_show_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, LENIENT, "--pairs", "5")
    assert done.returncode == 1
    assert "(0.0000 to inf) times the bare loop, 5 pairs" in done.stdout


@pytest.mark.parametrize("n", [6, 12, 41, 250])
def test_the_interval_of_a_median_is_exact(n: int) -> None:
    middle, low, high = overhead.interval([float(k) for k in range(n, 0, -1)])
    assert middle == (n + 1) / 2
    assert low + high == n + 1
    outside = scipy.stats.binom(n, 0.5).cdf
    assert outside(low - 1) <= 0.025 < outside(low)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "nunpy", "--task", "adding"], "Did you mean 'numpy'"),
        (["--impl", "numpy", "--task", "adding"], "expected options that select one row"),
        (["--impl", "numpy", "--pear", "3"], "Did you mean --pairs"),
        ([*ROW, "--work", "trian"], "Did you mean 'train'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert overhead.main(arguments) == 2
    assert words in capsys.readouterr().err


# The row itself in place of a loop by hand, its answers times FACTOR.
BARE = """
from suites.interface import Unavailable
from .scratch import build as made

class Loop:
    def __init__(self, task, device, params):
        self.row = made(task, "float32", device)
        self.row.load(params)
        self.place = self.row.place

    def step(self, placed):
        return self.row.step(placed)

    def infer(self, placed):
        return self.row.infer(placed) * FACTOR

def build(task, device, params):
    if task.model.ragged:
        raise Unavailable("not written for ragged sequences")
    return Loop(task, device, params)
"""


def own(tmp_path: Path, factor: float = 1.0) -> list[str]:
    """A row with a loop by hand."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "scratch.py").write_text("from impls.numpy.scratch import build\n", encoding="utf-8")
    (folder / "bare.py").write_text(BARE.replace("FACTOR", str(factor)), encoding="utf-8")
    return ["--impl", str(folder), "--variant", "scratch", "--bare"]


def test_a_loop_by_hand_is_timed_in_turn_with_the_row(tmp_path: Path) -> None:
    done = run(
        tmp_path, LENIENT.replace("BAR", "BARE_BAR"), *own(tmp_path), "--task", "char_lm", "--pairs", "12"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(medians(done.stdout)) == {"train", "infer"}  # no loop by hand decodes


def test_a_loop_by_hand_that_answers_otherwise_is_not_timed(tmp_path: Path) -> None:
    done = run(tmp_path, LENIENT, *own(tmp_path, 1.001), "--pairs", "2")
    assert done.returncode != 0
    assert "infer: expected the answer of the row" in done.stdout + done.stderr
    assert not medians(done.stdout)


def test_a_loop_by_hand_says_what_it_is_not_written_for(tmp_path: Path) -> None:
    done = run(tmp_path, LENIENT, *own(tmp_path), "--task", "sentiment", "--pairs", "2")
    assert done.returncode != 0
    assert "not written for ragged sequences" in done.stdout + done.stderr


def test_a_loop_by_hand_keeps_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*own(tmp_path), "--task", "adding", "--cell", "lstm", "--dtype", "float64"]
    assert overhead.main(asked) == 2
    assert "--bare: expected --dtype float32 or tf32, got float64" in capsys.readouterr().err


def test_a_folder_without_a_loop_by_hand_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert overhead.main([*ROW, "--bare"]) == 2
    assert "bare.py, got none" in capsys.readouterr().err
