"""What a user sees while a row trains: a bar on a terminal, a line an evaluation elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from suites.bench.campaign import clock


class Bar:
    """A live bar: steps done, loss, metric, time so far and time left; evaluations stay above it."""

    def __init__(self, console: Console, steps: int) -> None:
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[metric]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.bar = self.progress.add_task("training", total=steps, loss="-", metric="-")

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.progress.stop()

    def stepped(self, step: int, loss: float) -> None:
        """So many steps are done; the last loss."""
        self.progress.update(self.bar, completed=step, loss=f"{loss:.4g}")

    def evaluated(self, step: int, metric: str) -> None:
        """The held-out metric in words."""
        self.progress.update(self.bar, metric=metric)
        self.progress.console.print(f"step {step}: {metric}", highlight=False, markup=False)


class Lines:
    """The same as plain lines, for a log or a pipe."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps, self.loss, self.began = console, steps, "-", time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: Any) -> None:
        """Nothing to take down."""

    def stepped(self, step: int, loss: float) -> None:
        """The last loss; shown with the next evaluation."""
        self.loss = f"{loss:.4g}"

    def evaluated(self, step: int, metric: str) -> None:
        """A line: steps, time so far and left, loss, metric."""
        spent = time.monotonic() - self.began
        left = f", {clock(spent / step * (self.steps - step))} left" if 0 < step < self.steps else ""
        line = f"[{step}/{self.steps}  {clock(spent)}{left}]  loss {self.loss}  {metric}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def progress(console: Console, steps: int) -> Bar | Lines:
    """The one that suits where the output goes."""
    return Bar(console, steps) if console.is_terminal else Lines(console, steps)
