"""The tables of a report as CSV: each frame of ``frames.py`` over all machines, the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from reports import frames
from reports.machines import Machine
from reports.markdown import one_line

# Nine significant digits: what is beyond them differs between processors, and with it the bytes.
FORMAT = "%.9g"
FORMULA = ("=", "+", "-", "@")  # a spreadsheet would run a text that begins so
TABLES: dict[str, tuple[Callable[[Machine], pd.DataFrame], str]] = {
    "records": (frames.records, "each number's id and the records that it rests on"),
    "parity": (frames.parity, "how each climb of the parity ladder ended"),
    "levels": (frames.levels, "error and tolerance of each level of each climb"),
    "throughput": (frames.throughput, "time, throughput and ratios of each row and kind of work"),
    "startup": (frames.startup, "import, build and first step"),
    "starts": (frames.starts, "start and step of each row whose machine was watched"),
    "break-even": (frames.paybacks, "after how many steps the row that starts later has caught up"),
    "memory": (frames.memory, "peak memory of training"),
    "scaling": (frames.curves, "time and memory at each point of each scaling curve"),
    "quality": (frames.quality, "what each training reached"),
    "learning-curves": (frames.learning, "each point of each training"),
    "equivalence": (frames.equal, "quality of each row beside the reference, over seeds"),
    "quiet": (frames.watched, "the machine during each campaign"),
}


def files(machines: Sequence[Machine]) -> dict[str, bytes]:
    """By name; a table without a line has no file."""
    found = {}
    for name, (make, _) in TABLES.items():
        made = [(machine.number, make(machine)) for machine in machines]
        parts = [frame.assign(machine=number) for number, frame in made if not frame.empty]
        if parts:
            frame = pd.concat(parts, ignore_index=True)
            frame.insert(0, "machine", frame.pop("machine"))
            found[name] = text(frame)
    return found


def text(frame: pd.DataFrame) -> bytes:
    """The file: numbers unrounded but for FORMAT, every text on one line and no formula."""
    shown = frame.convert_dtypes()  # whole numbers beside gaps stay whole
    for name in shown.select_dtypes(["object", "string"]):
        shown[name] = [_inert(value) if isinstance(value, str) else value for value in shown[name]]
    made: str = shown.to_csv(index=False, float_format=FORMAT, lineterminator="\n")
    return made.encode()


def _inert(value: str) -> str:
    line = one_line(value)
    return f"'{line}" if line.startswith(FORMULA) else line
