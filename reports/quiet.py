"""Was the machine quiet while a campaign ran? From the samples taken between its groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import statistics
from reports.markdown import NOTHING, escape
from reports.rows import Row
from results.record import Record
from results.store import age

# Past one of these a campaign is not publishable. Measured on 2 virtual cores, 2.6 GHz, Linux, samples 2 s
# apart: 12 at rest, 26 beside one process that kept a core busy.
OTHERS = 0.05  # share of our cores' time that other processes took: at most 0.01; 0.50
SPREAD = 0.20  # IQR over median of the products' times, sample by sample: 0.02; 2.4
STEAL = 0.02  # share that a hypervisor gave to others: at most 0.007 in both, so a choice
SHORT = 12  # characters of a campaign's name

AT_ITS_CAP = "power cap"  # of a GPU's reasons the one that is its normal state: shown, no disturbance

STAMP = "**Not publishable: the machine was not quiet.**"


@dataclass(frozen=True)
class State:
    """The machine during one campaign."""

    campaign: str
    records: tuple[Record, ...]

    @property
    def products(self) -> list[float]:
        """Seconds of the reference product: the median of each sample."""
        return [float(np.median(record["body"]["matmul_s"])) for record in self.records]

    @property
    def copies(self) -> list[float]:
        """Seconds of the reference copy, likewise."""
        return [float(np.median(record["body"]["copy_s"])) for record in self.records]

    @property
    def throttled(self) -> int | None:
        """How often a core was slowed for its heat meanwhile; None where it is not counted."""
        counts = [record["body"]["throttled"] for record in self.records]
        known = [count for count in counts if count is not None]
        return max(known) - min(known) if known else None

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """What the driver said of the GPU, sample by sample; empty where rows ran on the CPU."""
        return [record["body"]["gpu"] for record in self.records if "gpu" in record["body"]]

    @property
    def slowed(self) -> list[str]:
        """What held the GPU's clocks down in any sample."""
        return sorted({reason for gpu in self.gpus for reason in gpu["slowed"] or ()})

    def share(self, name: str) -> float | None:
        """Of the time between the samples: "steal" or "others"; None where the system counts none."""
        bodies = [record["body"] for record in self.records]
        known = [
            (body[name], body["seconds"]) for body in bodies if body[name] is not None and body["seconds"]
        ]
        if not known:
            return None
        return float(sum(share * seconds for share, seconds in known) / sum(seconds for _, seconds in known))

    @property
    def disturbed(self) -> list[str]:
        """What was past its limit; empty where the machine was quiet."""
        found = []
        spread = statistics.spread(self.products)
        if spread > SPREAD:
            found.append(f"the reference product varied by {_percent(spread)} (IQR over median)")
        for name, limit, text in (("others", OTHERS, "others used"), ("steal", STEAL, "a hypervisor took")):
            share = self.share(name)
            if share is not None and share > limit:
                found.append(f"{text} {_percent(share)} of the cores' time")
        if self.throttled:
            found.append(f"cores were slowed for heat {self.throttled} time(s)")
        if reasons := [reason for reason in self.slowed if reason != AT_ITS_CAP]:
            found.append(f"the GPU was slowed: {escape(', '.join(reasons))}")
        return found


def states(rows: Iterable[Row]) -> list[State]:
    """Of every campaign whose timings are in these rows and that took samples."""
    found: dict[str, list[Record]] = defaultdict(list)
    timed: set[str] = set()
    for row in rows:
        timed |= {record["body"]["campaign"] for record in row.bench if record["status"] == "ok"}
        for record in row.quiet:
            found[record["body"]["campaign"]].append(record)
    return [State(name, tuple(sorted(found[name], key=age))) for name in sorted(timed & found.keys())]


def stamp(rows: Sequence[Row]) -> str:
    """What stands on top of a page that holds a campaign on a machine that was not quiet."""
    reasons = [
        f"- campaign {escape(s.campaign[:SHORT])}: {'; '.join(s.disturbed)}."
        for s in states(rows)
        if s.disturbed
    ]
    return f"{STAMP} Its timings are to be taken again.\n\n" + "\n".join(reasons) if reasons else ""


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """A line a campaign: verdict and numbers."""
    frame = pd.DataFrame([_line(state) for state in states(rows)])
    return frame.fillna(NOTHING)  # the columns of a GPU, of a campaign on a CPU


def _line(state: State) -> dict[str, str]:
    bodies = [record["body"] for record in state.records]
    mhz = [body["cpu_mhz"] for body in bodies if body["cpu_mhz"] is not None]
    loads = [body["load_average"][0] for body in bodies if body["load_average"]]
    return {
        "campaign": escape(state.campaign[:SHORT]),
        "quiet": "no" if state.disturbed else "yes",
        "samples": str(len(bodies)),
        "product, ms": _times(state.products),
        "copy, ms": _times(state.copies),
        "used by others": _percent(state.share("others")),
        "stolen": _percent(state.share("steal")),
        "load, largest": f"{max(loads):.2f}" if loads else NOTHING,
        "MHz": f"{min(mhz):.0f} to {max(mhz):.0f}" if mhz else NOTHING,
        "throttled": NOTHING if state.throttled is None else str(state.throttled),
        **_of_gpu(state),
    }


def _of_gpu(state: State) -> dict[str, str]:
    """The columns of a campaign on a GPU."""
    if not state.gpus:
        return {}
    ranges = {"GPU, MHz": "sm_mhz", "GPU, °C": "temperature_c", "GPU, W": "power_w"}
    found = {}
    for title, name in ranges.items():
        known = [gpu[name] for gpu in state.gpus if gpu[name] is not None]
        found[title] = f"{min(known):.0f} to {max(known):.0f}" if known else NOTHING
    return found | {"GPU slowed by": escape(", ".join(state.slowed)) or "nothing"}


def _times(seconds: Sequence[float]) -> str:
    """The median, its spread, and the slowest sample over the fastest."""
    middle, worst = 1e3 * float(np.median(seconds)), max(seconds) / min(seconds)
    return f"{middle:.3g}, IQR {_percent(statistics.spread(seconds))}, max/min {worst:.2f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"
