"""The tables of timings: throughput with intervals, and the start-up phases apart."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import statistics
from reports.markdown import NOTHING, brief, escape
from reports.rows import Row, threads
from reports.statistics import Blocks, Estimate, Logs
from reports.tables import asked, who
from results.record import Record, canonical

PassId = tuple[str, int]  # campaign and number: rows that share it ran side by side
PHASES = {
    "import_s": "import",
    "build_s": "build",
    "first_step_s": "first step",
    "first_infer_s": "first inference",
    "first_decode_s": "first decoding",
}
COMPARED = ("task", "cell", "size", "data", "dtype", "device", "seed")
MILLI = 1e3
OF_BYTES = "its floor is the bytes that must move"
LATENCY = (
    "*ms per token*: of one sequence alone (B = 1), as it comes in a stream: the time over the tokens "
    "chosen, what is read before the first of them included."
)


@dataclass(frozen=True)
class Timing:
    """One kind of work ("train", "infer" or "decode") of one row, pass by pass."""

    row: Row
    records: tuple[Record, ...]
    seconds: Mapping[PassId, Logs]
    blocks: Mapping[PassId, Blocks]
    floors: Mapping[PassId, Logs]  # time over GEMM floor, of the passes that measured one
    spread: float
    rounds: int

    @functools.cached_property
    def step(self) -> Estimate:
        """Seconds a step."""
        return statistics.estimate(list(self.seconds.values()))

    @functools.cached_property
    def _over_floor(self) -> Estimate | None:
        if not self.floors:
            return None
        return statistics.estimate(list(self.floors.values()))

    def over_floor(self) -> Estimate | None:
        """Time over GEMM floor."""
        return self._over_floor

    @functools.cached_property
    def _ratios(self) -> dict[int, tuple[Timing, Estimate | None]]:
        return {}

    def over(self, other: Timing) -> Estimate | None:
        """This row's time over the other's, paired round by round in each pass, with the interval that
        separates rows; None where they share no pass."""
        if id(other) not in self._ratios:  # kept with the other: an id is its own while it lives
            self._ratios[id(other)] = other, self._over(other)
        return self._ratios[id(other)][1]

    def _over(self, other: Timing) -> Estimate | None:
        ratios = list(self.ratios(other).values())
        return statistics.estimate(ratios, statistics.SEPARATES) if ratios else None

    def ratios(self, other: Timing) -> dict[PassId, Logs]:
        """The same in each pass that both share."""
        names = (*_names(self.records[0]), *_names(other.records[0]))
        return {
            number: statistics.paired(self.blocks[number], other.blocks[number], str(number), *names)
            for number in sorted(set(self.blocks) & set(other.blocks))
        }


@dataclass(frozen=True)
class Group:
    """Rows that answer one question at one dtype, on one device, with so many threads."""

    rows: tuple[Row, ...]
    threads: str

    @property
    def generates(self) -> bool:
        """Whether decoding was asked of the rows."""
        return bool(self.rows[0].any["spec"]["model"].get("generates"))

    @property
    def title(self) -> str:
        """The question in words, as plain text."""
        row = self.rows[0]
        shape = _shape(row.any["spec"])
        seed = "" if row["seed"] == "0" else f", seed {row['seed']}"
        parts = (
            row["task"],
            row["cell"],
            f"{row.any['spec']['size']} ({shape})",
            row["data"] + seed,
            row["dtype"],
            row["device"],
        )
        return f"{', '.join(parts)}, threads: {self.threads}"


def _shape(spec: Mapping[str, Any]) -> str:
    """``B = 64, T = 18, S = 11, H = 128, L = 2, both ways, ragged``: what differs from the plainest said."""
    model = spec["model"]
    found = [f"B = {spec['batch']}", f"T = {spec['length']}"]
    if model.get("wiring") == "encoder_decoder":
        found.append(f"S = {spec.get('target_length', '?')}")
    found.append(f"H = {model.get('hidden', '?')}")
    if model.get("layers", 1) > 1:
        found.append(f"L = {model['layers']}")
    found += ["both ways"] if model.get("bidirectional") else []
    found += ["ragged"] if model.get("ragged") else []
    return ", ".join(found)


def groups(rows: Sequence[Row]) -> list[Group]:
    """The comparisons of one section: never across specs, dtypes, devices or numbers of threads."""
    same: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        same[*(row[name] for name in COMPARED), row.any["fingerprint"]].append(row)
    found = []
    for _, members in sorted(same.items()):
        counts = {threads(record) for row in members for record in row.bench}
        known = sorted(counts - {"unknown"}, key=int) or sorted(counts)
        found += [Group(tuple(members), count) for count in known]
    return found


def timings(group: Group, what: str) -> list[Timing]:
    """Of every row that may be shown, the fastest first."""
    measured = [timing(row, group.threads, what) for row in group.rows if not row.verdict]
    found = sorted((item for item in measured if item is not None), key=lambda item: item.step.value)
    return sorted(found, key=lambda item: _times(item, found[0]))  # by pairs, which can be of another order


def _times(item: Timing, other: Timing) -> float:
    """How many times the other's time it took, by pairs where there are any."""
    paired = None if item is other else item.over(other)
    return item.step.value / other.step.value if paired is None else paired.value


def timing(row: Row, count: str, what: str) -> Timing | None:
    """The row's samples at this number of threads, or None; computed once."""
    key = ("timing", count, what)
    if key not in row.memo:
        row.memo[key] = _measured(row, count, what)
    found: Timing | None = row.memo[key]
    return found


def _measured(row: Row, count: str, what: str) -> Timing | None:
    records = tuple(r for r in row.bench if r["status"] == "ok" and threads(r) == count and _samples(r, what))
    if not records:
        return None
    seconds, timed, floors = {}, {}, {}
    for record in records:
        number = (record["body"]["campaign"], record["body"]["pass"])
        blocks = timed[number] = _samples(record, what)
        names = (what, *_names(record))
        seconds[number] = statistics.median([s for block in blocks.values() for s in block], *names)
        floor = _samples(record, f"floor_{what}")
        pairs = [
            statistics.median(blocks[b], f"{b}", *names) - statistics.median(floor[b], f"floor {b}", *names)
            for b in sorted(set(blocks) & set(floor))
        ]
        if pairs:
            floors[number] = statistics.mean(pairs, "blocks", *names)
    samples = [s for record in records for block in _samples(record, what).values() for s in block]
    return Timing(row, records, seconds, timed, floors, statistics.spread(samples), len(samples))


def throughput(group: Group, what: str, timed: Sequence[Timing]) -> pd.DataFrame:
    """A line a row: timed ones from the fastest on, then the untimed with their reason."""
    lines = [_timed_line(item, timed[0], what) for item in timed]
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


def _timed_line(item: Timing, first: Timing, what: str) -> dict[str, str]:
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


def floor_of(item: Timing, what: str) -> str:
    """What its floor is: the model's products; on a GPU the bytes that must move, where that takes longer."""
    found = [record["body"].get("bounds", {}).get(what, {}).get("by") for record in item.records]
    return "bytes" if "bytes" in found else "products"


def _samples(record: Record, what: str) -> dict[int, list[float]]:
    """Seconds of each block of this kind."""
    found: dict[int, list[float]] = defaultdict(list)
    for block in record["body"]["blocks"]:
        if block["what"] == what:
            found[block["block"]] += block["seconds"]
    return found


def _counts(item: Timing) -> str:
    return f"{len(item.seconds)} x {item.rounds / len(item.seconds):.0f}"


def path(item: Timing) -> str:
    """How it ran, by its own account."""
    paths = {", ".join(f"{k} {v}" for k, v in sorted(r["body"]["path"].items())) for r in item.records}
    return "; ".join(sorted(paths))


def _names(record: Record) -> tuple[str, ...]:
    """Seeds a row's draws: the same for the same record, whatever else is in the report."""
    return canonical(record["row"]), record["id"]


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
