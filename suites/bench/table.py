"""A round table: the processes of rows that are compared, one at work at a time.

Each takes its seat (starts, builds, warms up) when the one before waits; then they work in turn,
a block each, until each has written its record; then all end together. Only what a process works
itself counts against its time. One that is lost leaves the others as they are.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any

from suites.bench import turns
from suites.bench.environments import Environment


@dataclass(frozen=True)
class Ended:
    """How a process came to its end."""

    code: int | None  # None: it was given up, its time was over
    output: str
    recorded: bool  # it said so


@dataclass
class Seat:
    """One process, the line to it, and what it printed."""

    process: subprocess.Popen[bytes]
    line: turns.Parent
    output: IO[str]  # a file: a pipe that nobody drains would block the process
    left_s: float  # of its own time
    recorded: bool = False  # it waits to be dismissed

    def work(self) -> Ended | None:
        """Let it work until it waits again: None; or until it ends, or its time does: how."""
        began = time.monotonic()
        try:
            if self._waits():
                return None
        except turns.Late:
            return self.end(given_up=True)
        finally:
            self.left_s -= time.monotonic() - began
        self.line.close()
        return self.leave()

    def _waits(self) -> bool:
        """Whether it waits rather than ends. Raises Late."""
        until = time.monotonic() + self.left_s
        with suppress(turns.Gone):
            while True:
                said = self.line.hear(until - time.monotonic(), lambda: self.process.poll() is None)
                self.recorded |= said == turns.RECORDED
                if said in (turns.WAITING, turns.RECORDED):
                    return True
        return False

    def leave(self) -> Ended:
        """Wait for its end, once its line is closed."""
        began = time.monotonic()
        try:
            self.process.wait(max(self.left_s, 0.0))
        except subprocess.TimeoutExpired:
            return self.end(given_up=True)
        finally:
            self.left_s -= time.monotonic() - began
        return self.end()

    def end(self, given_up: bool = False) -> Ended:
        """Nothing of it is left; what it printed."""
        self.line.close()
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        self.output.seek(0)
        printed = self.output.read()
        self.output.close()
        return Ended(None if given_up else code, printed, self.recorded)


@dataclass
class Table:
    """Seats by name. As a context, it leaves no process behind, whatever happens."""

    timeout: float  # seconds that each process may work, its start and its end included
    seats: dict[Any, Seat] = field(default_factory=dict)

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for seat in self.seats.values():
            seat.end()

    def seat(self, name: Any, environment: Environment, arguments: list[str]) -> Ended | None:
        """Start a process and let it come to its first block: None; or how it ended before."""
        line = turns.Parent()
        # Where a child's output is not in the system's encoding, it is still to be read.
        output = TemporaryFile("w+", errors="replace")  # noqa: SIM115  its seat closes it
        process = environment.start(*arguments, output=output, more=line.variables)
        self.seats[name] = Seat(process, line, output, self.timeout)
        return self._work(name)

    def turn(self, name: Any, position: int, of: int) -> Ended | None:
        """Its turn, the ``position``-th (from 0) of so many: None where it then waits, or how it ended."""
        with suppress(turns.Gone):  # that it is gone shows at once
            self.seats[name].line.go(position, of)
        return self._work(name)

    @property
    def at_work(self) -> list[Any]:
        """Whose record is still to come."""
        return [name for name, seat in self.seats.items() if not seat.recorded]

    def dismiss(self) -> dict[Any, Ended]:
        """Let all end, side by side; how each did."""
        for seat in self.seats.values():
            seat.line.close()
        ended = {name: seat.leave() for name, seat in self.seats.items()}
        self.seats.clear()
        return ended

    def _work(self, name: Any) -> Ended | None:
        ended = self.seats[name].work()
        if ended:
            del self.seats[name]
        return ended
