"""The tables of timings: throughput with intervals, and the start-up phases apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports import statistics
from reports.markdown import NOTHING, brief, escape
from reports.measured import Group, Timing, common_floor, floor_of, path
from reports.rows import Row
from reports.statistics import Estimate
from reports.tables import asked, who

PHASES = {
    "import_s": "import",
    "build_s": "build",
    "first_step_s": "first step",
    "first_infer_s": "first inference",
    "first_decode_s": "first decoding",
}
MILLI = 1e3
OF_BYTES = "its floor is the bytes that must move"
LATENCY = (
    "*ms per token*: of one sequence alone (B = 1), as it comes in a stream: the time over the tokens "
    "chosen, what is read before the first of them included."
)


def throughput(group: Group, what: str, timed: Sequence[Timing]) -> pd.DataFrame:
    """A line a row: timed ones from the fastest on, then the untimed with their reason."""
    common = common_floor(timed)
    lines = [_timed_line(item, timed[0], common, what) for item in timed]
    shown = {id(item.row) for item in timed}
    for row in group.rows:
        if id(row) not in shown:
            lines.append({**_who(row), unit(what, row): why_untimed(row, group.threads)})
    return pd.DataFrame(lines)


def fastest(timed: Sequence[Timing]) -> str:
    """Who was fastest, as far as the intervals tell."""
    if not timed:
        return "No row was timed."
    first, others = timed[0], timed[1:]
    if not others:
        return "One row was timed: nothing to compare."
    ratios = [(other, other.over(first)) for other in others]
    if any(found is None for _, found in ratios):
        return "Not every row shares a pass with the others: no fastest row is named."
    level = [other for other, found in ratios if found is not None and found.low <= 1.0]
    if not level:
        return f"Fastest: {_name(first)}."
    return f"Fastest, not separable: {', '.join(_name(item) for item in (first, *level))}."


def startup(rows: Sequence[Row]) -> pd.DataFrame:
    """Seconds before the steady state, the median over passes."""
    lines = []
    for row in rows:
        records = [record for record in row.bench if record["status"] == "ok"]
        if row.verdict or not records:
            continue
        phases = pd.DataFrame([record["body"]["phases"] for record in records]).median()
        times = {f"{name}, s": f"{phases[key]:.3g}" for key, name in PHASES.items() if key in phases}
        lines.append({**asked(row), **who(row), **times, "passes": str(len(records))})
    return pd.DataFrame(lines)


def why_untimed(row: Row, count: str) -> str:
    """Parity, or what the timing itself said."""
    if row.verdict:
        return f"untimed: {row.verdict}"
    failures = [record for record in row.bench if record["status"] != "ok"]
    if failures:
        return f"{failures[-1]['status']}: {brief(failures[-1]['reason'])}"
    return "untimed: not measured" + ("" if count == "unknown" or not row.bench else " with so many threads")


def _timed_line(item: Timing, first: Timing, common: Timing | None, what: str) -> dict[str, str]:
    step = item.step
    value, low, high = (MILLI * x for x in (step.value, step.low, step.high))
    places = statistics.decimals(value, low, high)
    tokens = item.records[0]["body"]["tokens_per_decode" if what == "decode" else "tokens_per_step"]
    rates = (tokens / step.value, tokens / step.high, tokens / step.low)
    return {
        **_who(item.row),
        unit(what, item.row): statistics.cut(value, places),
        "95 % interval": f"{statistics.cut(low, places)} to {statistics.cut(high, places)}",
        **({"ms per token": statistics.in_words(step, MILLI / tokens)} if latency(item.row, what) else {}),
        "tokens/s": statistics.cut(rates[0], statistics.decimals(*rates)),
        "x GEMM floor": _with_interval(item.over_floor()) or NOTHING,
        **({"x NumPy's": _with_interval(item.over_floor_of(common)) or NOTHING} if common else {}),
        "x fastest": "1 (reference)" if item is first else ratio(item.over(first)),
        "passes x rounds": _counts(item),
        "path": escape(path(item)),
        "notes": "; ".join(_notes(item, what)) or NOTHING,
    }


def ratio(found: Estimate | None) -> str:
    """A ratio of two rows in a cell, and whether they are told apart."""
    if found is None:
        return "not paired"
    return ("not separable, " if found.holds_one else "") + _with_interval(found)


def _with_interval(found: Estimate | None) -> str:
    return "" if found is None else statistics.in_words(found)


def _notes(item: Timing, what: str) -> list[str]:
    notes = []
    if item.spread > statistics.NOISY:
        notes.append(f"noisy (IQR {100 * item.spread:.0f} % of the median)")
    if len(item.seconds) == 1:
        notes.append("one pass: its interval comes from rounds only")
    failures = [record for record in item.row.bench if record["status"] != "ok"]
    notes += [f"a pass is missing: {record['status']}: {brief(record['reason'])}" for record in failures]
    if floor_of(item, what) == "bytes":
        notes.append(OF_BYTES)
    if item.row.proven_at:
        notes.append(f"proven at {escape(item.row.proven_at)}")
    return notes


def _counts(item: Timing) -> str:
    return f"{len(item.seconds)} x {item.rounds / len(item.seconds):.0f}"


def _name(item: Timing) -> str:
    return escape(f"{item.row['implementation']} {item.row['variant']}")


def _who(row: Row) -> dict[str, str]:
    """Implementation and variant: the device is in the title."""
    return {name: text for name, text in who(row).items() if name != "device"}


def latency(row: Row, what: str) -> bool:
    """Whether the time of this work is that of one sequence's tokens, chosen one by one."""
    return what == "decode" and row.any["spec"]["batch"] == 1


def unit(what: str, row: Row) -> str:
    """What a time is that of."""
    if what == "train":
        return "ms per step"
    return "ms per sequence" if row.any["spec"]["batch"] == 1 else "ms per batch"
