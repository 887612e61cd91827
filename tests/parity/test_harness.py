"""The harness is tested as implementations are: a defect in the gate itself makes a check of ours fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from suites.recording import ROOT

PARTS = ("suites", "impls/numpy", "results", "tests/parity", "locks", "pyproject.toml")
GATE, COMPARATOR, MUTANTS = "test_gate.py", "test_comparator.py", "test_mutants.py"
CLIMB, CACHE = "test_climb.py", "test_cache.py"


@dataclass(frozen=True)
class Defect:
    """One change in a copy of the harness, and the test that must then fail."""

    name: str
    file: str  # of suites/parity
    old: str
    new: str
    check: str  # a file of tests/parity
    test: str  # what its name holds


DEFECTS = [
    # 50 of the reference list, at three places
    Defect("comparator does not judge", "comparator.py", "if size > tolerance.value:", "if False:",
           COMPARATOR, "each_wrong_answer"),
    Defect("a level does not judge", "level.py", "any(finding.failed for finding in findings) else", "False else",
           MUTANTS, "no_failure"),
    Defect("the gate does not judge", "test_ladder.py", 'failed = levels[-1].status == "failed"', "failed = False",
           GATE, "wrong_folder and gates"),
    # 53, at three places
    Defect("a skip counts as passed", "test_ladder.py", "        pytest.skip(str(error))", "        return",
           GATE, "run_of_skips"),
    Defect("a skip is recorded as passed", "test_ladder.py", '"skipped", str(error), levels', '"passed", "", levels',
           GATE, "run_of_skips"),
    Defect("nothing but skips is a pass", "conftest.py", "session.exitstatus = pytest.ExitCode.TESTS_FAILED", "return",
           GATE, "run_of_skips"),
    Defect("a missing package is not told", "conftest.py", 'raise pytest.UsageError(f"{folder.name} on', 'print(f"{folder.name} on',
           GATE, "missing_framework"),
    # ours
    Defect("a deviation need not deviate", "test_ladder.py", "    pytest.fail(text, pytrace=False)\n\n\ndef finish", "\n\ndef finish",
           GATE, "no_longer_deviates"),
    Defect("only one step is followed", "tolerances.toml", "optimiser_steps = 3", "optimiser_steps = 1",
           MUTANTS, "as_stated and zeroed"),
    Defect("surplus names pass", "comparator.py", "if name not in expected:", "if False:", COMPARATOR, "surplus"),
    Defect("wrong tokens pass", "comparator.py", "wrong = counted & (got != expected)", "wrong = counted & False",
           COMPARATOR, "first_wrong_token"),
    Defect("no token counts", "decoding.py", "return ~np.logical_or.accumulate(thin, axis=1)", "return thin & False",
           CLIMB, "wrong_answer and char_lm"),
    Defect("nobody is let to write", "ladder.py", "checks.append(self._decode)", "pass", CLIMB, "wrong_answer and char_lm"),
    Defect("evaluation is not asked for", "reference.py", "(cases | undropped(cases)).items()", "cases.items()",
           CLIMB, "wrong_answer and sentiment"),
    Defect("padding is not poisoned", "fixtures.py", "return np.where(beyond >= 0, other, array)", "return np.where(False, other, array)",
           CLIMB, "wrong_answer and sentiment and poisoned"),
    Defect("an edited measurement is believed", "cache.py", 'content.get("digest") == _sha256(found)', "True", CACHE, "damaged"),
    Defect("a measurement of another source is believed", "cache.py", 'or content.get("key") != wanted', "", CACHE, "another_source"),
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the gate and its tests need."""
    tree = tmp_path_factory.mktemp("harness") / "tree"
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "records", "published", "quarantine")
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        else:
            shutil.copy(ROOT / part, tree / part)
    return tree


def check(tree: Path, file: str, test: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", f"tests/parity/{file}", "-k", test, "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_every_check_passes_on_the_sound_harness(sound: Path) -> None:
    for file in (GATE, COMPARATOR, MUTANTS):
        chosen = " or ".join(f"({defect.test})" for defect in DEFECTS if defect.check == file)
        done = check(sound, file, chosen)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_of_the_harness_is_noticed(defect: Defect, sound: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(sound, tree)
    path = tree / "suites" / "parity" / defect.file
    source = path.read_text(encoding="utf-8")
    assert source.count(defect.old) == 1, (
        f"{defect.old!r} is in {defect.file} {source.count(defect.old)} times"
    )
    path.write_text(source.replace(defect.old, defect.new), encoding="utf-8")
    done = check(tree, defect.check, defect.test)
    assert done.returncode == 1, done.stdout
    assert "0 failed" not in done.stdout
    assert " failed" in done.stdout
