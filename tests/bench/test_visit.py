"""A visit: what is over time is cut off, what was finished stays."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from results import store
from results.errors import UserError
from suites.bench import __main__ as bench
from suites.bench import gpu, visit

HOLDS = visit.holds
HERE = ["--python", f"torch={sys.executable}"]


@pytest.fixture(autouse=True)
def all_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This interpreter stands for that of every framework."""
    monkeypatch.setattr(visit, "holds", lambda *_: True)


def route(*arguments: str) -> list[str]:
    return [str(stop) for stop in visit.stops(visit.parse([*arguments]))]


def test_the_first_stops_are_one_question_to_every_framework() -> None:
    first = route()[:3]
    assert [stop.partition(":")[0] for stop in first] == ["torch", "jax", "tensorflow"]
    assert len({stop.partition(":")[2].partition("--passes")[0] for stop in first}) == 1


def test_only_those_that_are_named_are_asked() -> None:
    assert {stop.partition(":")[0] for stop in route(*HERE)} == {"torch"}


def test_every_stop_is_a_choice_of_rows_that_exists() -> None:
    options = visit.parse(["--device", "cpu"])
    for stop in visit.stops(options):
        command = stop.command(options)
        asked = command[command.index("suites.bench") + 1 :]
        _, questions = bench.rows(bench.narrowed(bench.parse([*asked])))
        assert questions, stop
        dtype = stop.asked[stop.asked.index("--dtype") + 1] if "--dtype" in stop.asked else "float32"
        assert {question.row.dtype for question in questions} == {dtype}


def test_without_any_framework_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(visit, "holds", lambda *_: False)
    assert visit.main(HERE) == 2
    assert "expected torch, jax, tensorflow, or one of them" in capsys.readouterr().err


def test_holding_is_found_without_an_import() -> None:
    assert HOLDS("numpy", sys.executable)
    assert not HOLDS("no_such_framework", sys.executable)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_stop_that_fails_does_not_end_the_visit() -> None:
    assert visit.made(python("raise SystemExit(1)"), "it", lambda: 60.0) == "failed"
    assert visit.made(python("pass"), "it", lambda: 60.0) == "done"
    assert visit.made(python("raise SystemExit(2)"), "it", lambda: 60.0) == visit.UNABLE
    assert visit.made(python("raise SystemExit(3)"), "it", lambda: 60.0) == "busy"


def test_a_card_that_is_busy_now_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy() -> int:
        raise gpu.Busy("of another")

    assert bench.told(busy) == bench.BUSY
    comes = iter(["busy"])
    monkeypatch.setattr(visit, "made", lambda command, about, left: next(comes, "done"))
    assert visit.main([]) == 1
    out = capsys.readouterr().out
    assert (out.count("busy "), out.count("done ")) == (1, len(route()) - 1)


def test_who_cannot_run_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def made(command: list[str], about: str, left: object) -> str:
        asked.append(about.partition(":")[0])
        return visit.UNABLE if about.startswith("torch") else "done"

    monkeypatch.setattr(visit, "made", made)
    assert visit.main([]) == 1
    assert asked.count("torch") == 1
    for name in ("jax", "tensorflow"):
        assert asked.count(name) == sum(stop.startswith(name) for stop in route()) > 1
    assert capsys.readouterr().out.count("cannot run   torch") == len(route(*HERE)) > 1


def test_what_no_time_is_left_for_is_not_begun() -> None:
    assert visit.made(python("raise SystemExit(1)"), "it", lambda: visit.LEAST_S - 1) == "not begun"


LISTENS = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
try:
    open({mark!r}, "w").close()
    time.sleep(60)
except KeyboardInterrupt:
    open({mark!r} + ".kept", "w").close()
"""
DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open({mark!r}, "w").close()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no interrupt to send")
@pytest.mark.parametrize(("code", "kept"), [(LISTENS, True), (DEAF, False)])
def test_what_is_over_time_is_interrupted_then_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, kept: bool
) -> None:
    mark = tmp_path / "begun"
    monkeypatch.setattr(visit, "LEAST_S", 0.0)
    monkeypatch.setattr(visit, "END_S", 0.5 if not kept else 30.0)

    def left() -> float:
        """Time until the process listens, then none."""
        for _ in range(600):
            if mark.exists():
                return 0.0
            time.sleep(0.05)
        return 0.0

    asked = iter([1.0, 1.0])
    found = visit.made(python(code.format(mark=str(mark))), "it", lambda: next(asked, None) or left())
    assert found == "cut off"
    assert Path(f"{mark}.kept").exists() is kept


def test_a_rehearsal_leaves_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """NumPy stands for a framework: proven, timed, its memory measured."""
    monkeypatch.setattr(visit, "FRAMEWORKS", ("numpy",))
    asked = ("--task", "adding", "--cell", "rnn", "--variant", "scratch", "--size", "tiny")
    monkeypatch.setattr(visit, "QUESTIONS", ((("numpy",), (*asked, *visit.ONE_PASS)),))
    where = ["--device", "cpu", "--records", str(tmp_path / "r"), "--python", f"numpy={sys.executable}"]
    assert visit.main(where) == 0
    assert "done         numpy: --task adding" in capfd.readouterr().out
    records, _ = store.read_all(tmp_path / "r")
    assert {record["kind"] for record in records} == {"parity", "bench", "quiet", "memory"}
    with pytest.raises(UserError, match=r"unknown option '--minits'. Did you mean --minutes"):
        visit.parse(["--minits", "3"])
