"""The line between a campaign and its children: who is let in, what is said, and what is heard of an end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from suites.bench import turns
from suites.bench.turns import Child, Gone, Late, Parent
from suites.recording import ROOT

LONG_S = 60.0


@pytest.fixture
def parent() -> Iterator[Parent]:
    line = Parent()
    yield line
    line.close()


def child(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> Child:
    for name, value in parent.variables.items():
        monkeypatch.setenv(name, value)
    return Child()


def alive() -> bool:
    return True


def greet(one: Child, parent: Parent) -> None:
    """Something is said, and heard."""
    assert one.line is not None
    one.line.sendall(b"recorded\n")
    assert parent.hear(LONG_S, alive) == turns.RECORDED


def test_a_child_waits_for_each_block_and_says_when_it_is_done(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = child(parent, monkeypatch)
    happened: list[str] = []

    def work() -> None:
        for block, what in [(0, "train"), (0, "infer"), (1, "train")]:
            waited = one.take(block)
            happened.append(f"{what}-{block}{' after others' * waited}")
        one.recorded()
        one.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert parent.hear(LONG_S, alive) == turns.WAITING
    assert happened == []
    parent.go(2, 5)
    assert parent.hear(LONG_S, alive) == turns.WAITING
    assert happened == ["train-0 after others", "infer-0"]
    parent.go(0, 4)
    assert parent.hear(LONG_S, alive) == turns.RECORDED
    assert happened == ["train-0 after others", "infer-0", "train-1 after others"]
    with pytest.raises(Late):  # it stays until it is let go
        parent.hear(0.2, alive)
    assert thread.is_alive()
    parent.close()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert one.turns == [[2, 5], [0, 4]]


def test_the_token_is_in_the_environment_of_the_child_alone(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(child(parent, monkeypatch)):
        assert turns.VARIABLE not in turns.os.environ  # what the child starts does not read it
    with contextlib.closing(Parent()) as other:
        assert other.token != parent.token


@pytest.mark.parametrize("said", [b"", b"0123\n", b"\xff\xfe\n", b"x" * 1000, b"waiting\n"])
def test_who_does_not_know_the_token_is_refused(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(turns, "GREETING_S", 0.05)
    port = parent.listener.getsockname()[1]
    with socket.create_connection((turns.HOST, port)) as stranger:
        stranger.sendall(said)
        with pytest.raises(Late):
            parent.hear(0.2, alive)
        assert parent.line is None
        stranger.settimeout(LONG_S)
        with contextlib.suppress(ConnectionResetError):  # what it said was not read to its end
            assert stranger.recv(1) == b""
    with contextlib.closing(child(parent, monkeypatch)) as one:
        greet(one, parent)


def test_only_this_machine_is_listened_to_and_only_until_the_child_calls(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = parent.listener.getsockname()
    assert host == "127.0.0.1"
    with contextlib.closing(child(parent, monkeypatch)) as one:
        greet(one, parent)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((turns.HOST, port))


def test_a_child_that_ends_before_it_calls_is_gone(parent: Parent) -> None:
    with pytest.raises(Gone, match="before it said its token"):
        parent.hear(LONG_S, lambda: False)
    with pytest.raises(Gone):
        parent.go(0, 1)


def test_a_parent_that_is_gone_ends_the_wait(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(child(parent, monkeypatch)) as one:
        greet(one, parent)
        parent.close()
        with pytest.raises(Gone):
            one.take(0)
    monkeypatch.setenv(turns.VARIABLE, f"{one_free_port()} 0")
    with pytest.raises(Gone, match="cannot be reached"):
        Child()


def one_free_port() -> int:
    with socket.create_server((turns.HOST, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_nobody_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(turns.VARIABLE, raising=False)
    one = Child()
    assert not one.take(0)
    one.recorded()
    one.close()
    assert one.turns == []


def test_settling_waits_for_threads_that_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter([0.0, 0.02, 1.0, 1.015, 2.0, 2.001])  # of the process: all, three quarters, a twentieth
    walls = iter([0.0, 0.02, 1.0, 1.02, 2.0, 2.02])
    slept: list[float] = []
    monkeypatch.setattr(turns.time, "process_time", lambda: next(clocks))
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(walls))
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    turns.settle()
    assert slept == [turns.IDLE_S] * 3


WAITS = """
from suites.bench.turns import Child
one = Child()
one.take(0)
print("its turn")
one.take(1)
"""


def test_a_child_whose_line_closes_ends_by_itself(parent: Parent) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS],
        cwd=ROOT,
        env=turns.os.environ | parent.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + LONG_S
        assert parent.hear(until - time.monotonic(), lambda: process.poll() is None) == turns.WAITING
        parent.go(0, 1)
        assert parent.hear(LONG_S, alive) == turns.WAITING
        parent.close()
        printed, complaint = process.communicate(timeout=LONG_S)
    assert (printed, process.returncode) == ("its turn\n", 1)
    assert "Gone" in complaint
