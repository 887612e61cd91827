"""The gate is itself tested: each deliberate defect must die by a number, at its level or before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from suites import implementations, spec
from suites.implementations import IMPLS
from suites.parity.ladder import Climb, Level
from suites.parity.reference import reference
from tests.parity.mutants import MUTANTS, Mutant


def copy(mutant: Mutant | None, folder: Path) -> implementations.Folder:
    """A copy of NumPy's implementation, with the defect."""
    shutil.copytree(IMPLS / "numpy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        path = folder / mutant.file
        source = path.read_text(encoding="utf-8")
        assert source.count(mutant.old) == 1, (
            f"{mutant.name}: {mutant.old!r} is in {mutant.file} {source.count(mutant.old)} times"
        )
        path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    return implementations.find(str(folder))


def climb(folder: implementations.Folder, task: str, cell: str, dtype: str) -> list[Level]:
    """All levels that the folder's scratch variant reaches."""
    build = implementations.builder(folder, "scratch")
    known = reference(spec.load(task, cell=cell), 0)
    return list(Climb(known, dtype, lambda asked: build(asked, dtype, "cpu")).levels())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_dies(mutant: Mutant, tmp_path: Path) -> None:
    last = climb(copy(mutant, tmp_path / "mutant"), mutant.task, mutant.cell, "float64")[-1]
    assert last.status == "failed", f"{mutant.name} lives"
    assert last.level <= mutant.level, f"{mutant.name} dies at level {last.level}, not at {mutant.level}"
    told = last.told
    assert told is not None
    assert told.problem in ("error above tolerance", "not exactly zero where the oracle is")
    assert told.tensor.startswith(mutant.tensor), (
        f"{mutant.name}: {told.tensor} is named, not {mutant.tensor}"
    )


@pytest.mark.parametrize("dtype", spec.DTYPES)
def test_the_copy_without_a_defect_passes(tmp_path: Path, dtype: str) -> None:
    levels = climb(copy(None, tmp_path / "sound"), "adding", "lstm", dtype)
    assert [level.status for level in levels] == ["passed"] * 6


def test_float32_sees_rounding_to_tf32(tmp_path: Path) -> None:
    """Matrix inputs cut to ten bits of mantissa, as TF32 does: a thousand times float32's roundoff."""
    cut = "(np.asarray(x).view(np.int32) & np.int32(-8192)).view(np.float32)"
    mutant = Mutant("tf32", 1, "hidden", "scratch.py", '    a = x @ p["W_xh"]', f'    a = {cut} @ p["W_xh"]')
    folder = copy(mutant, tmp_path / "tf32")
    last = climb(folder, "adding", "lstm", "float32")[-1]
    assert (last.level, last.status) == (1, "failed")
