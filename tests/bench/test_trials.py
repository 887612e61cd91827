"""The planted slow-downs are as large as they say, and are measured as any row is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from results import store
from suites import implementations
from suites.bench.trials import __main__ as trials
from suites.bench.trials import slowed

TINY = ["--size", "tiny", "--passes", "1", "--repeats", "2", "--blocks", "1", "--threads", "1"]
TINY += ["--slower", "5"]


class Device:
    """An implementation whose work goes on after the call, until sync; it knows how long it took."""

    def __init__(self) -> None:
        self.took = 0.0

    def step(self, placed: str) -> str:
        self.began = time.perf_counter()
        return f"loss of {placed}"

    infer = step

    def decode(self, placed: str, steps: int, draws: object = None) -> str:
        self.began = time.perf_counter()
        return f"{steps} of {placed}"

    def sync(self) -> None:
        time.sleep(max(0.0, self.began + 0.02 - time.perf_counter()))
        self.took = max(self.took, time.perf_counter() - self.began)

    def path(self) -> dict[str, str]:
        return {"kernel": "loop"}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_each_timed_call_lasts_longer_by_the_planted_share_of_all_its_work(share: float) -> None:
    def build(task: object, dtype: str, device: str) -> Device:
        assert (task, dtype, device) == ("task", "float32", "cpu")
        return Device()

    impl = slowed.by(share, build)("task", "float32", "cpu")
    calls = [lambda: impl.step("x"), lambda: impl.infer("x"), lambda: impl.decode("x", 3, None)]
    for call, answer in zip(calls, ["loss of x", "loss of x", "3 of x"], strict=True):
        impl.impl.took = 0.0
        began = time.perf_counter()
        assert call() == answer
        assert time.perf_counter() - began >= (1 + share) * impl.took >= (1 + share) * 0.02
    assert impl.path() == {"kernel": "loop", "slowed_by": str(share)}


def test_the_copies_differ_by_the_share_alone(tmp_path: Path) -> None:
    folders, variant = trials.plant("numpy", None, (3, 20), tmp_path)
    assert variant == "scratch"
    assert [folder.name for folder in folders] == ["a", "b", "slower-3", "slower-20"]
    sources = [(folder / "scratch.py").read_text(encoding="utf-8") for folder in folders]
    assert sources[0] == sources[1]
    for share, source in zip([0.0, 0.0, 0.03, 0.2], sources, strict=True):
        assert source.count(f"slowed.by({share}, build)") == 1
        assert source.replace(f"slowed.by({share}, build)", "slowed.by(0.0, build)") == sources[0]
    assert trials.plant("numpy", None, (3, 20), tmp_path)[0] == folders
    assert (folders[2] / "scratch.py").read_text(encoding="utf-8") == sources[2]


def test_the_chosen_variant_is_slowed_down_and_no_other(tmp_path: Path) -> None:
    folders, variant = trials.plant("torch", "native", (5,), tmp_path)
    assert variant == "native"
    assert "slowed.by(0.05, build)" in (folders[2] / "native.py").read_text(encoding="utf-8")
    assert (folders[2] / "scratch.py").read_bytes() == (
        implementations.find("torch").path / "scratch.py"
    ).read_bytes()


def test_per_cents_are_taken_in_rising_order_and_once() -> None:
    assert trials.parse(["--slower", "10, 5,5"]).slower == (5, 10)
    assert trials.parse([]).slower == (3, 5, 10)


@pytest.mark.parametrize("text", ["5,-1", "0", "101", "5,", "2.5", ""])
def test_what_is_no_per_cent_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        trials.parse(["--slower", text])
    assert f"expected whole per cents from 1 to 100, as 3,5,10, got {text!r}" in capsys.readouterr().err


def test_a_comparison_of_so_many_passes_is_asked_for(tmp_path: Path) -> None:
    options = trials.parse(["--work", str(tmp_path), "--repeats", "7", "--passes", "4", "--blocks", "2"])
    command = trials.comparison(options, [tmp_path / "a", tmp_path / "b"], "scratch")
    given = dict(zip(command[::2], command[1::2], strict=True))
    assert given == {
        "--impl": f"{tmp_path / 'a'},{tmp_path / 'b'}",
        "--records": str(tmp_path / "records"),
        "--variant": "scratch",
        "--passes": "28",
        "--task": "adding",
        "--cell": "lstm",
        "--blocks": "2",
    }


def test_planted_rows_are_proven_and_timed_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trials, "EQUAL", ())
    assert trials.main([*TINY, "--work", str(tmp_path)]) == 0
    records, damaged = store.read_all(tmp_path / "records")
    assert damaged == []
    timed = [record for record in records if record["kind"] == "bench"]
    assert [(r["status"], r["body"]["pass"], r["body"]["path"]["slowed_by"]) for r in timed] == [
        ("ok", 0, "0.05"),
        ("ok", 1, "0.05"),
    ]
    assert {r["status"] for r in records if r["kind"] == "parity"} == {"passed"}
    capfd.readouterr()
    assert trials.main([*TINY, "--work", str(tmp_path)]) == 0
    assert "3 of 3 groups are measured already" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "nunpy"], "Did you mean 'numpy'"),
        (["--variant", "native"], "Known: remat, scratch"),
        (["--repeat", "2", "--taks", "adding"], "Did you mean --task"),
        (["--work", "a,b"], "without a comma"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    work = [] if "--work" in arguments else ["--work", str(tmp_path)]
    assert trials.main([*arguments, *work]) == 2
    assert words in capsys.readouterr().err
