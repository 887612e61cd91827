"""At one table: one at work at a time, in turn; who is lost, is lost alone."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from results import store
from results.errors import UserError
from results.record import Record
from suites import recording, selection
from suites.bench import gpu, turns
from suites.bench import table as tables
from suites.bench.campaign import Campaign, Job
from suites.bench.environments import Environment
from suites.bench.table import Ended, Seat, Table

NAMES = ("a", "b", "c")
BLOCKS = 4
HERE = Environment("numpy", sys.executable, "cpu", 1)

# A group without its row: what it does, and when, goes into a file that all append to. It prints more than a
# pipe holds before it waits.
GROUP = """
import os, sys, time
log, name, blocks, fails, at = sys.argv[1:6]
file = open(log, "a", buffering=1)
file.write(f"{name} start begin\\n")
from suites.bench.turns import Child
child = Child()
print("x" * 200_000)
file.write(f"{name} start end\\n")
for block in range(int(blocks)):
    child.take(block)
    file.write(f"{name} {block} begin\\n")
    if name == fails and block == int(at):
        print("E   out of luck")
        sys.stdout.flush()
        os._exit(3)
    time.sleep(0.005)
    file.write(f"{name} {block} end\\n")
print(child.turns)
child.recorded()
child.close()
"""


def arguments(log: Path, name: str, fails: str = "", at: int = 0) -> list[str]:
    return ["-c", GROUP, str(log), name, str(BLOCKS), fails, str(at)]


class Played(Campaign):
    """A campaign whose groups are played."""

    fails, at = "", 0

    def child(self, job: Job, parts: Path) -> list[str]:
        return arguments(self.records / "log", job.question.row.implementation, self.fails, self.at)


def played(records: Path, passes: int = 1) -> Played:
    """Three rows of one question."""
    chosen = {"impl": "numpy", "variant": "scratch", "task": "adding", "cell": "rnn"}
    (question,) = selection.questions(chosen.get, size="tiny", dtypes=("float32",))
    rows = [dataclasses.replace(question.row, implementation=name) for name in NAMES]
    questions = [dataclasses.replace(question, row=row) for row in rows]
    origins = {"numpy": recording.origin(question.folder, "cpu")}
    return Played(records, {"numpy": HERE}, origins, questions, passes, BLOCKS, 300)


def timed(campaign: Played, number: int | None = None) -> list[Job]:
    return [job for job in campaign.jobs() if job.kind == "bench" and number in (None, job.number)]


def log_of(records: Path) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in (records / "log").read_text(encoding="utf-8").splitlines()]


def kept(records: Path, kind: str) -> list[Record]:
    found, damaged = store.read_all(records)
    assert damaged == []
    return [record for record in found if record["kind"] == kind]


def orders(log: list[tuple[str, ...]]) -> list[list[str]]:
    """Who worked in each block, in turn."""
    worked = [(block, name) for name, block, what in log if block != "start" and what == "begin"]
    return [[name for _, name in same] for _, same in itertools.groupby(worked, key=lambda pair: pair[0])]


def test_one_is_at_work_at_a_time_and_all_take_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = played(tmp_path, passes=2)
    campaign.measure(timed(campaign), tmp_path)
    assert campaign.failed == []
    log = log_of(tmp_path)
    assert len(log) == 2 * len(NAMES) * 2 * (1 + BLOCKS)
    for begin, end in zip(log[::2], log[1::2], strict=True):
        assert (begin[:2], begin[2], end[2]) == (end[:2], "begin", "end")
    for one_pass in (log[: len(log) // 2], log[len(log) // 2 :]):
        assert {name for name, block, _ in one_pass[: 2 * len(NAMES)] if block == "start"} == set(NAMES)
        assert [sorted(order) for order in orders(one_pass)] == [list(NAMES)] * BLOCKS
    found = orders(log)
    assert len({tuple(order) for order in found}) > 2
    told = capsys.readouterr().out
    assert told.count("blocks 1 to 4 of 3 rows, in turn") == 2
    samples = [(r["body"]["when"], r["body"]["pass"]) for r in kept(tmp_path, "quiet")]
    assert sorted(samples) == [("after", 1), *[("before", 0)] * BLOCKS, *[("before", 1)] * BLOCKS]


@pytest.mark.parametrize("at", [0, 2, BLOCKS - 1])
def test_who_dies_is_a_record_and_the_others_go_on(tmp_path: Path, at: int) -> None:
    campaign = played(tmp_path)
    campaign.fails, campaign.at = "b", at
    campaign.measure(timed(campaign), tmp_path)
    (lost,) = kept(tmp_path, "bench")
    assert (lost["row"]["implementation"], lost["status"]) == ("b", "error")
    assert "exit code 3" in lost["reason"]
    assert lost["reason"].endswith("out of luck")
    assert len(campaign.failed) == 1
    found = orders(log_of(tmp_path))
    assert [sorted(order) for order in found] == [list(NAMES)] * (at + 1) + [["a", "c"]] * (BLOCKS - 1 - at)


def test_what_was_lost_is_a_smaller_table_later(tmp_path: Path) -> None:
    campaign = played(tmp_path)
    campaign.measure([job for job in timed(campaign) if job.question.row.implementation != "a"], tmp_path)
    assert [sorted(order) for order in orders(log_of(tmp_path))] == [["b", "c"]] * BLOCKS
    assert kept(tmp_path, "bench") == []


def test_on_a_gpu_each_has_a_table_of_its_own(tmp_path: Path) -> None:
    campaign = played(tmp_path)
    campaign.environments["numpy"] = dataclasses.replace(HERE, device="gpu")
    campaign.measure(timed(campaign), tmp_path)
    names = [name for name, _, _ in log_of(tmp_path)]
    assert [name for name, _ in itertools.groupby(names)] == [
        job.question.row.implementation for job in timed(campaign)
    ]


def test_a_gpu_that_another_works_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy() -> None:
        raise UserError("GPU 0: expected it for ourselves")

    campaign = played(tmp_path)
    campaign.environments["numpy"] = dataclasses.replace(HERE, device="gpu")
    monkeypatch.setattr(gpu, "answers", lambda: True)
    monkeypatch.setattr(gpu, "check_free", busy)
    with pytest.raises(UserError, match="expected it for ourselves"):
        campaign.measure(timed(campaign), tmp_path)
    assert not (tmp_path / "log").exists()


def test_who_ends_without_a_record_says_so(tmp_path: Path) -> None:
    with Table(300) as table:
        ended = table.seat("a", HERE, ["-c", "print('nothing to do')"])
    assert ended == Ended(0, "nothing to do\n", recorded=False)
    campaign = played(tmp_path)
    campaign.ended(timed(campaign)[0], ended)
    (record,) = kept(tmp_path, "bench")
    assert record["reason"] == "the child ended without a record:\nnothing to do"


def test_whose_time_is_over_is_given_up_alone(tmp_path: Path) -> None:
    hangs = "from suites.bench.turns import Child; Child().take(0); import time; time.sleep(600)"
    with Table(300) as table:
        assert table.seat("a", HERE, arguments(tmp_path / "log", "a")) is None
        assert table.seat("b", HERE, ["-c", hangs]) is None
        process = table.seats["b"].process
        table.seats["b"].left_s = 0.2
        ended = table.turn("b", 0, 2)
        assert ended is not None
        assert ended.code is None
        assert process.poll() is not None
        assert list(table.seats) == ["a"]
        ends = [table.turn("a", 0, 1) for _ in range(BLOCKS)]
        assert ends == [None] * BLOCKS
        assert table.at_work == []
        (last,) = table.dismiss().values()
    assert (last.code, last.recorded) == (0, True)
    assert last.output.endswith("[[0, 1], [0, 1], [0, 1], [0, 1]]\n")


def test_none_ends_while_another_works(tmp_path: Path) -> None:
    """Who is done stays, until all are; then they end side by side, and who cannot is given up alone."""
    slow = GROUP.replace("child.close()", "time.sleep(0.5 if name != 'c' else 600)")
    with Table(300) as table:
        for name in NAMES:
            assert table.seat(name, HERE, ["-c", slow, *arguments(tmp_path / "log", name)[2:]]) is None
        for _ in range(BLOCKS):
            assert [table.turn(name, 0, 3) for name in NAMES] == [None] * len(NAMES)
        assert [seat.process.poll() for seat in table.seats.values()] == [None] * len(NAMES)
        table.seats["c"].left_s = 1.0
        ended = table.dismiss()
        assert table.seats == {}
    assert {name: (end.code, end.recorded) for name, end in ended.items()} == {
        "a": (0, True),
        "b": (0, True),
        "c": (None, True),
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_behind(tmp_path: Path, error: type[BaseException]) -> None:
    processes = []

    def interrupted() -> None:
        with Table(300) as table:
            for name in NAMES:
                assert table.seat(name, HERE, arguments(tmp_path / "log", name)) is None
                processes.append(table.seats[name].process)
            assert [process.poll() for process in processes] == [None] * len(NAMES)
            raise error

    with pytest.raises(error):
        interrupted()
    assert len(processes) == len(NAMES)
    assert all(process.poll() is not None for process in processes)


class Line:
    """A child that takes so many seconds of a planted clock to be heard."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def hear(self, seconds: float, alive: Callable[[], bool]) -> str:
        self.clock[0] += min(self.seconds, seconds)
        if self.seconds > seconds:
            raise turns.Late
        return turns.WAITING

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("seconds", "outlasts"), [(5.0, True), (7.0, False)])
def test_only_own_work_counts_against_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, outlasts: bool
) -> None:
    """Of 12 s; the clock goes on for hours between the turns."""
    clock = [0.0]
    monkeypatch.setattr(tables.time, "monotonic", lambda: clock[0])
    with (tmp_path / "out").open("w+") as output:
        process = HERE.start("-c", "import time; time.sleep(600)", output=output, more={})
        seat = Seat(process, Line(clock, seconds), output, 12.0)  # type: ignore[arg-type]
        first = seat.work()
        clock[0] += 10_000
        second = seat.work()
        monkeypatch.undo()
        if outlasts:
            assert (first, second) == (None, None)
            assert seat.left_s == 2.0
            seat.end()
        else:
            assert first is None
            assert second == Ended(None, "", recorded=False)
        assert process.poll() is not None
