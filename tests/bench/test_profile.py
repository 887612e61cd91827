"""Where a row's time goes is the profiler's word, in milliseconds of one iteration."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.bench import profile
from suites.bench.environments import KEEPS_MEMORY

ROW = ["--impl", "numpy", "--task", "char_lm", "--cell", "lstm", "--size", "tiny", "--threads", "1", "--here"]
DEVICE = """
from suites.plain_device import PACKAGES, compilations, configure, floor, peak_memory
"""
TELLS = """
def profile(call):
    call()
    return {"product": 0.3, "copy": 0.06, "add": 0.03, "little": 0.01}
"""
SCRATCH = """
from impls.numpy.scratch import build
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "device.py").write_text(DEVICE + TELLS, encoding="utf-8")
    (tmp_path / "scratch.py").write_text(SCRATCH, encoding="utf-8")
    return tmp_path


def test_the_longest_come_first_and_the_rest_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ["--impl", str(folder), *ROW[2:], "--work", "infer", "--iterations", "10", "--lines", "2"]
    assert profile.main(row) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "infer: 10 iterations" in lines[2]
    assert [line.split() for line in lines[3:]] == [
        ["ms", "share", "operation"],
        ["30", "75.0", "%", "product"],
        ["6", "15.0", "%", "copy"],
        ["4", "10.0", "%", "all", "others"],
    ]


def test_numpy_names_its_own_functions(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([*ROW, "--variant", "scratch", "--iterations", "2", "--lines", "40"]) == 0
    told = capsys.readouterr().out
    assert told.count("iterations, ") == 3  # train, infer, decode
    assert "scratch.py:" in told


def test_it_runs_with_the_settings_of_what_is_timed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    says = "import os\n" + TELLS.replace('"little"', '"MMAP_MAX " + os.environ["MALLOC_MMAP_MAX_"]')
    (folder / "device.py").write_text(DEVICE + says, encoding="utf-8")
    row = ["--impl", str(folder), *ROW[2:-1], "--work", "train", "--iterations", "7"]
    assert profile.main(row) == 0
    told = capfd.readouterr().out
    assert ("train: 7 iterations" in told, "infer: " in told) == (True, False)
    assert f"MMAP_MAX {KEEPS_MEMORY['MALLOC_MMAP_MAX_']}" in told


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--variant", "scratch", "--work", "trian"], "Did you mean 'train'"),
        ([], "a sample group is one row"),
        (["--variant", "scratch", "--lins", "3"], "Did you mean --lines"),
    ],
)
def test_mistakes_are_told(more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([*ROW, *more]) == 2
    assert words in capsys.readouterr().err


def test_who_cannot_tell_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "device.py").write_text(DEVICE, encoding="utf-8")
    assert profile.main(["--impl", str(folder), *ROW[2:]]) == 2
    assert "expected a function profile in its device.py, got none" in capsys.readouterr().err
