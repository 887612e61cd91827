"""Whose turn it is: a line of talk between a campaign and the process of each sample group.

Processes that stay alive and work in turn, block by block, see the same machine; one that waits
reads, and costs nothing. The talk is text over a socket of this machine, as every system has it:
the child says the token that its environment names and then, before each block, ``waiting``; the
parent answers ``go POSITION OF``; after the last block the child says ``recorded`` and waits until
the parent hangs up, so that none ends, which takes a second, while another works. When either dies
the other reads the end of the file: no message is lost unseen, and none is needed.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress

HOST = "127.0.0.1"
VARIABLE = "UNROLLED_TURNS"  # "PORT TOKEN" in the child's environment
WAITING, GO, RECORDED = "waiting", "go", "recorded"
LONGEST = 80  # bytes of a line: a token, or a word and two numbers
LOOK_S = 0.05  # while a child starts, how often it is looked whether it has ended
GREETING_S = 2.0  # that a caller may take to say its token
IDLE_SHARE, IDLE_S, IDLE_AT_MOST_S = 0.1, 0.02, 1.0


class Gone(Exception):
    """The other side is no more there."""


class Late(Exception):
    """Nothing was said within the time."""


class Parent:
    """The campaign's end of one child's line. To be closed."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)  # of this child alone: it is its name, too
        self.listener = socket.create_server((HOST, 0))
        self.line: socket.socket | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What the child's environment must hold."""
        return {VARIABLE: f"{self.listener.getsockname()[1]} {self.token}"}

    def hear(self, seconds: float, alive: Callable[[], bool]) -> str:
        """The next line that the child says. Raises Late, and Gone where it ended."""
        until = time.monotonic() + seconds
        while self.line is None:
            self._admit(until, alive)
        return _read(self.line, until)

    def go(self, position: int, of: int) -> None:
        """The child's turn, the ``position``-th (from 0) of so many. Raises Gone."""
        if self.line is None:
            raise Gone("it has not said its token")
        _say(self.line, f"{GO} {position} {of}")

    def close(self) -> None:
        """A child that waits reads the end of the file, and ends."""
        self.listener.close()
        if self.line is not None:
            self.line.close()

    def _admit(self, until: float, alive: Callable[[], bool]) -> None:
        """Look once whether somebody calls, and take the one who knows the token; nobody after it."""
        if time.monotonic() >= until:
            raise Late("it has not said its token")
        if not alive():
            raise Gone("it ended before it said its token")
        self.listener.settimeout(LOOK_S)
        try:
            line, _ = self.listener.accept()
        except TimeoutError:
            return
        try:
            said = _read(line, min(until, time.monotonic() + GREETING_S))
        except (Gone, Late):
            said = ""
        if hmac.compare_digest(said.encode(), self.token.encode()):
            self.line = line
            self.listener.close()
        else:
            line.close()


class Child:
    """A sample group's end; of a group that nobody hands turns to, one that never waits. To be closed."""

    def __init__(self) -> None:
        """Raises Gone where the parent is."""
        self.block = -1
        self.turns: list[list[int]] = []  # [position, of] in each block
        self.line: socket.socket | None = None
        if found := os.environ.pop(VARIABLE, ""):
            port, token = found.split()
            try:
                self.line = socket.create_connection((HOST, int(port)))
            except OSError as error:
                raise Gone(f"the parent cannot be reached: {error.strerror}") from None
            _say(self.line, token)

    def take(self, block: int) -> bool:
        """Come back when it is this process's turn to run that block; whether another was at work before.
        Raises Gone where the parent is."""
        if self.line is None or block == self.block:
            return False
        settle()
        _say(self.line, WAITING)
        word, *numbers = _read(self.line, None).split()
        if word != GO:
            raise Gone(f"expected {GO!r} of the parent, got {word!r}")
        self.turns.append([int(number) for number in numbers])
        self.block = block
        return True

    def recorded(self) -> None:
        """Say that the record is written; come back when the parent hangs up: then all may end."""
        if self.line is not None:
            settle()
            with suppress(Gone):
                _say(self.line, RECORDED)
                _read(self.line, None)

    def close(self) -> None:
        """The end, for the parent."""
        if self.line is not None:
            self.line.close()


def settle() -> None:
    """Wait until this process is idle: the threads of a pool may spin on after their work, for 200 ms in
    OpenMP of LLVM and Intel (KMP_BLOCKTIME), and would take a core of whoever is next."""
    until = time.monotonic() + IDLE_AT_MOST_S
    while time.monotonic() < until:
        began, worked = time.perf_counter(), time.process_time()
        time.sleep(IDLE_S)
        if time.process_time() - worked < IDLE_SHARE * (time.perf_counter() - began):
            return


def _say(line: socket.socket, text: str) -> None:
    try:
        line.sendall(f"{text}\n".encode())
    except OSError as error:
        raise Gone(f"it cannot be told: {error.strerror}") from None


def _read(line: socket.socket, until: float | None) -> str:
    """One line; ``until`` as time.monotonic() has it. Raises Late and Gone."""
    found = b""
    while not found.endswith(b"\n"):
        try:
            # 0 would not wait at all, and raise another error
            line.settimeout(None if until is None else max(until - time.monotonic(), 1e-3))
            more = line.recv(1)
        except TimeoutError:
            raise Late("it has said nothing") from None
        except OSError as error:
            raise Gone(f"it cannot be heard: {error.strerror}") from None
        if not more or len(found) > LONGEST:
            raise Gone("it hung up" if not more else "it says what nobody understands")
        found += more
    return found.decode(errors="replace").strip()
