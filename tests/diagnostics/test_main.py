"""Diagnostics as a user asks for them: records, lines, exit codes, mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reports import diagnostics
from results import store
from results.record import Record
from suites import recording, selection
from suites.diagnostics.__main__ import main, scales_of
from suites.diagnostics.rows import gate
from suites.implementations import IMPLS

ONE = ["--variant", "scratch", "--cell", "rnn", "--threads", "1"]


def run(records: Path, *arguments: str) -> int:
    return main(["--records", str(records), *ONE, *arguments])


def kept(records: Path) -> list[Record]:
    found, damaged = store.read_all(records)
    assert damaged == []
    return found


def copy(folder: Path, file: str, old: str, new: str) -> Path:
    """NumPy's implementation elsewhere, with one change."""
    shutil.copytree(IMPLS / "numpy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (folder / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, source
    (folder / file).write_text(source.replace(old, new), encoding="utf-8")
    return folder


def test_a_row_leaves_a_record_and_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--impl", "numpy", "--diagnostic", "clipping", "--dtype", "float32") == 0
    said = capsys.readouterr().out
    assert "equal to the oracle's: largest relative difference" in said
    assert "100 of 100 points judged; gate not run" in said
    assert "nox -s parity-numpy-cpu runs it" in said
    (record,) = kept(tmp_path)
    assert (record["kind"], record["status"], record["row"]["size"]) == ("diagnostics", "ok", "clipping")
    assert record["body"]["gate"]["status"] == "not run"
    (case,) = record["body"]["cases"]
    assert {curve["curve"]: len(curve["values"]) for curve in case["curves"]} == {"before": 50, "after": 50}


def test_one_scale_can_be_asked_for(tmp_path: Path) -> None:
    asked = ("--diagnostic", "distance", "--dtype", "float64", "--scale", "0.9")
    assert run(tmp_path, "--impl", "numpy", *asked) == 0
    (record,) = kept(tmp_path)
    assert [case["case"] for case in record["body"]["cases"]] == ["scale 0.9"]


def test_a_defect_is_found_by_command_record_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = copy(
        tmp_path / "wrong",
        "scratch.py",
        '    return da @ p["W_xh"].T, (da @ p["W_hh"].T,)\n',
        '    return da @ p["W_xh"].T, (1.001 * da @ p["W_hh"].T,)\n',
    )
    records = tmp_path / "records"
    assert run(records, "--impl", str(wrong), "--diagnostic", "distance", "--dtype", "float32") == 1
    assert "NOT equal to the oracle's: largest relative difference 3" in capsys.readouterr().out  # 1.001^30
    tables = diagnostics.tables(kept(records))
    assert tables["Equal to the oracle"]["distance, rnn"][0].startswith("**differs**: 3")
    assert "scale" in tables["What differs or is missing"]["what"][0]


def test_a_crash_is_a_record_and_the_other_rows_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "    def gradients(self, batch, carry):\n"
    fragile = copy(
        tmp_path / "fragile", "training.py", body, f"{body}        raise RuntimeError('out of luck')\n"
    )
    records = tmp_path / "records"
    assert run(records, "--impl", str(fragile), "--diagnostic", "clipping") == 1
    said = capsys.readouterr().out
    assert said.count("RuntimeError: out of luck") == 2  # of both dtypes
    assert [record["status"] for record in kept(records)] == ["error", "error"]
    assert all("out of luck" in record["reason"] for record in kept(records))


def test_a_folder_without_build_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scratch.py").write_text("", encoding="utf-8")
    assert run(tmp_path / "records", "--impl", str(tmp_path / "mine"), "--diagnostic", "clipping") == 2
    assert "expected a function build(task, dtype, device), got none" in capsys.readouterr().err


def test_a_row_that_cannot_serve_is_kept_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "from suites.interface import Unavailable\n\n\ndef build(task, dtype, device):\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scratch.py").write_text(f"{source}    raise Unavailable('no such cell')\n", "utf-8")
    records = tmp_path / "records"
    assert run(records, "--impl", str(tmp_path / "mine"), "--diagnostic", "clipping") == 1
    assert "untimed: no such cell" in capsys.readouterr().out
    assert [record["reason"] for record in kept(records)] == ["no such cell"] * 2


def test_a_row_that_passed_the_gate_is_told_so(tmp_path: Path) -> None:
    options = {"impl": "numpy", "variant": "scratch", "task": "adding", "cell": "rnn", "dtype": "float32"}
    (question,) = selection.questions(options.get, size="tiny", dtypes=("float32",))
    origin = recording.origin(question.folder, "cpu")
    assert gate(question, [], origin)["status"] == "not run"
    body = {"levels": [], "digest": "0" * 64}
    recording.write(tmp_path, "parity", question, "failed", "fell", body, origin)
    assert gate(question, kept(tmp_path), origin) == {"status": "failed", "reason": "fell"}
    assert gate(question, kept(tmp_path), origin | {"source": "1" * 64})["status"] == "not run"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cell", "grru"], "unknown cell 'grru'. Did you mean 'gru'?"),
        (["--cell", "gru_reset_before"], "unknown cell 'gru_reset_before'"),
        (["--diagnostic", "clip"], "unknown diagnostic 'clip'. Did you mean 'clipping'?"),
        (["--variant", "nativ"], "unknown variant 'nativ'"),
        (["--dtype", "float16"], "unknown dtype 'float16'"),
        (["--impl", "nunpy"], "Did you mean 'numpy'?"),
        (["--scale", "big"], "--scale: expected numbers above 0 and up to 4"),
        (["--scale", "0.5,-1"], "got '0.5,-1'"),
        (["--scale", "nan"], "got 'nan'"),
        (["--scale", "5"], "got '5'"),
        (["--scale", ""], "got ''"),
        (["--device", "gpu"], "numpy cannot run here: NumPy runs on the CPU only"),
        (["--steps", "3"], "--steps"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    given = [*ONE[:-2], "--impl", "numpy", *arguments]
    assert main(["--records", str(tmp_path / "records"), *given]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "records").exists()


def test_scales_come_in_order_and_once() -> None:
    assert scales_of("1.5,0.5,0.50") == [0.5, 1.5]
    assert scales_of(None) == [0.5, 1.0, 1.5]
