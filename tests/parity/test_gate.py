"""The gate as a user runs it: exit codes and words, in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suites.implementations import IMPLS
from suites.recording import ROOT

ONE = ["--variant", "scratch", "--task", "adding", "--cell", "lstm", "--dtype", "float64"]
WRITER = ["--variant", "scratch", "--task", "caption", "--cell", "lstm", "--dtype", "float64"]
SWAP = ("scratch.py", "a_i, a_f, a_g, a_o = np", "a_f, a_i, a_g, a_o = np")
END = "            self.state = final\n        return loss"
NOISE = ("training.py", END, """            self.state = final
        Trainer.taken = getattr(Trainer, "taken", 0) + 1
        if Trainer.taken % 7 == 0:  # one ulp at every seventh step of the process
            self.params["head.b_q"] = np.nextafter(self.params["head.b_q"], 9)
        return loss""")  # fmt: skip
DEVIATION = """
[[deviation]]
id = "ours"
variant = "scratch"
cells = ["lstm"]
reason = "the gates stand in another order"
link = "https://example.org"
"""


def gate(records: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "suites/parity",
        "-p",
        "no:cacheprovider",
        "--records",
        str(records),
    ]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def copy(folder: Path, *changes: tuple[str, str, str], deviations: str = "") -> Path:
    """NumPy's implementation elsewhere, changed."""
    shutil.copytree(IMPLS / "numpy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "deviations.toml").write_text(deviations, encoding="utf-8")
    for file, old, new in changes:
        source = (folder / file).read_text(encoding="utf-8")
        assert source.count(old) == 1
        (folder / file).write_text(source.replace(old, new), encoding="utf-8")
    return folder


def record(records: Path) -> dict[str, object]:
    (path,) = records.glob("parity-*.json")
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


PRECISE = """


def precise(dtype, device):
    return {"rounded": "yes"} if dtype == "bf16" else {}
"""


def test_a_sound_row_prints_a_line_a_level(tmp_path: Path) -> None:
    done = gate(tmp_path, "--impl", "numpy", *ONE)
    assert done.returncode == 0, done.stdout
    for level in range(6):
        assert f"level {level}" in done.stdout
    assert "level 7" not in done.stdout
    assert "complex step, 8 gradients" in done.stdout
    assert record(tmp_path)["status"] == "passed"


def test_a_row_that_repeats_says_so_in_its_record(tmp_path: Path) -> None:
    gate(tmp_path, "--impl", "numpy", *ONE)
    body: Any = record(tmp_path)["body"]
    assert body["levels"][5]["repeat"]["equal"]
    assert len(body["levels"][5]["losses"]) == 100
    assert body["settings"]["threads"]
    assert body["path"] == {"kernel": "loop over time", "compiled": "no"}


def test_a_row_that_does_not_repeat_passes_and_says_so(tmp_path: Path) -> None:
    done = gate(tmp_path / "records", "--impl", str(copy(tmp_path / "mine", NOISE)), *ONE)
    assert done.returncode == 0, done.stdout
    assert "level 5  not repeatable: by " in done.stdout
    assert "kernel loop over time" in done.stdout
    level: Any = record(tmp_path / "records")["body"]
    assert not level["levels"][5]["repeat"]["equal"]


def test_what_generates_is_let_to_write(tmp_path: Path) -> None:
    done = gate(tmp_path, "--impl", "numpy", *WRITER)
    assert done.returncode == 0, done.stdout
    assert "level 7  decode" in done.stdout
    assert "120 of 120 tokens compared" in done.stdout
    levels: Any = record(tmp_path)["body"]
    assert [level["level"] for level in levels["levels"]] == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    ("row", "change", "level", "tensor"),
    [
        (ONE, SWAP, 1, "hidden.encoder"),
        (ONE, ("scratch.py", ' + p["b_h"]  # [B, 4H]', "  # [B, 4H]"), 1, "hidden.encoder"),
        (ONE, ("training.py", "(np.sqrt(v_hat) + eps)", "np.sqrt(v_hat + eps)"), 4, "encoder.0.fwd.W_xh"),
        (WRITER, ("training.py", "ended |= token == EOS", "ended |= token < 0"), 7, "tokens"),
    ],
    ids=["gates swapped", "bias dropped", "epsilon misplaced", "end of sequence ignored"],
)
def test_a_wrong_folder_fails_and_says_where(
    tmp_path: Path, row: list[str], change: tuple[str, str, str], level: int, tensor: str
) -> None:
    done = gate(tmp_path / "records", "--impl", str(copy(tmp_path / "mine", change)), *row)
    assert done.returncode == 1
    assert f"level {level} (" in done.stdout
    assert f"{tensor}: error above tolerance" in done.stdout
    for word in ("expected", "got", "error", "tolerance", "where"):
        assert word in done.stdout
    assert record(tmp_path / "records")["status"] == "failed"


def test_a_deviation_that_deviates_is_no_failure_and_no_pass(tmp_path: Path) -> None:
    folder = copy(tmp_path / "mine", SWAP, deviations=DEVIATION)
    done = gate(tmp_path / "records", "--impl", str(folder), *ONE)
    assert done.returncode == 0
    assert "1 deviates" in done.stdout
    assert "1 passed" not in done.stdout
    assert record(tmp_path / "records")["status"] == "deviates"


def test_a_deviation_that_no_longer_deviates_fails(tmp_path: Path) -> None:
    folder = copy(tmp_path / "mine", deviations=DEVIATION)
    done = gate(tmp_path / "records", "--impl", str(folder), *ONE)
    assert done.returncode == 1
    assert "no longer deviates" in done.stdout
    assert record(tmp_path / "records")["status"] == "failed"


def test_a_deviation_must_fail_by_a_number(tmp_path: Path) -> None:
    wrong_shape = (
        "scratch.py",
        "return np.stack(hs, axis=1), state, caches",
        "return np.stack(hs), state, caches",
    )
    folder = copy(tmp_path / "mine", wrong_shape, deviations=DEVIATION)
    done = gate(tmp_path / "records", "--impl", str(folder), *ONE)
    assert done.returncode == 1


def test_a_run_of_skips_is_not_a_pass(tmp_path: Path) -> None:
    unable = (
        "scratch.py",
        "    return training.Trainer(",
        '    raise training.Unavailable("no such cell")\n    return training.Trainer(',
    )
    done = gate(tmp_path / "records", "--impl", str(copy(tmp_path / "mine", unable)), *ONE)
    assert done.returncode != 0
    assert "skipped: no such cell" in done.stdout
    assert "No row passed" in done.stdout
    assert record(tmp_path / "records")["status"] == "skipped"


def test_a_missing_framework_is_not_a_pass(tmp_path: Path) -> None:
    wanting = ("scratch.py", "import numpy as np\n", "import numpy as np\nimport no_such_framework\n")
    done = gate(tmp_path / "records", "--impl", str(copy(tmp_path / "mine", wanting)), *ONE)
    assert done.returncode not in (0, 1)
    assert "'no_such_framework', not installed" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "records").exists()


TWO = ["--variant", "scratch", "--task", "adding", "--cell", "rnn,lstm", "--dtype", "float64", "-n", "2"]


def test_several_processes_share_the_rows(tmp_path: Path) -> None:
    """Each row is told whole, and one that fails in another process fails the run."""
    folder = copy(tmp_path / "mine", SWAP)
    done = gate(tmp_path / "records", "--impl", str(folder), *TWO)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    rows = done.stdout.split("scratch, adding ")[1:]
    assert [text.split()[0] for text in rows[:2] if "level 5  trajectory" in text] == ["rnn"]
    assert "hidden.encoder: error above tolerance" in done.stdout
    records = [json.loads(path.read_text("utf-8")) for path in (tmp_path / "records").glob("parity-*.json")]
    assert {r["row"]["cell"]: r["status"] for r in records} == {"rnn": "passed", "lstm": "failed"}


def test_what_hinders_several_processes_is_said_once(tmp_path: Path) -> None:
    wanting = ("scratch.py", "import numpy as np\n", "import numpy as np\nimport no_such_framework\n")
    done = gate(tmp_path / "records", "--impl", str(copy(tmp_path / "mine", wanting)), *TWO)
    assert done.returncode not in (0, 1)
    assert (done.stdout + done.stderr).count("'no_such_framework', not installed") == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "numpy", "--task", "addin"], "Did you mean 'adding'"),
        (["--impl", "numpy", "--device", "gpu"], "CPU only"),
        (["--impl", "numpy", "--variant", "native"], "Known: remat, scratch"),
        ([], "--impl: expected one of"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = gate(tmp_path, *arguments)
    assert done.returncode not in (0, 1)
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_row_keeps_the_precision_of_none_but_itself(tmp_path: Path) -> None:
    mine = copy(tmp_path / "mine")
    with (mine / "device.py").open("a", encoding="utf-8") as file:
        file.write(PRECISE)
    records = tmp_path / "records"
    done = gate(records, "--impl", str(mine), *ONE[:-1], "bf16,float32", "-n", "0")
    assert done.returncode == 0, done.stdout
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("parity-*.json")]
    told = {one["row"]["dtype"]: one["body"]["settings"].get("rounded") for one in found}
    assert told == {"bf16": "yes", "float32": None}
