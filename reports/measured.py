"""The timings of a row, pass by pass, and its ratios: to its GEMM floor, to other rows, to their floors."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import statistics
from reports.rows import Row, threads
from reports.statistics import Blocks, Estimate, Logs
from results.record import Record, canonical

PassId = tuple[str, int]  # campaign and number: rows that share it ran side by side
COMPARED = ("task", "cell", "size", "data", "dtype", "device", "seed")
COMMON = "numpy"  # whose products are the same for every row: other frameworks bring their own


@dataclass(frozen=True)
class Timing:
    """One kind of work ("train", "infer" or "decode") of one row, pass by pass."""

    row: Row
    what: str
    records: tuple[Record, ...]
    seconds: Mapping[PassId, Logs]
    blocks: Mapping[PassId, Blocks]
    products: Mapping[PassId, Blocks]  # its GEMM floor, of the passes that measured one
    spread: float
    rounds: int

    @functools.cached_property
    def step(self) -> Estimate:
        """Seconds a step."""
        return statistics.estimate(list(self.seconds.values()))

    @functools.cached_property
    def _names(self) -> dict[PassId, tuple[str, ...]]:
        return {pass_of(record): (self.what, *_names(record)) for record in self.records}

    @functools.cached_property
    def floors(self) -> dict[PassId, Logs]:
        """Time over its own GEMM floor, in each pass that measured one."""
        return self._over_products(self)

    @functools.cached_property
    def _over_floor(self) -> Estimate | None:
        return statistics.estimate(list(self.floors.values())) if self.floors else None

    def over_floor(self) -> Estimate | None:
        """Time over GEMM floor."""
        return self._over_floor

    def over_floor_of(self, other: Timing) -> Estimate | None:
        """This row's time over the other's GEMM floor; None where they share no pass that measured it."""
        found = list(self._over_products(other).values())
        return statistics.estimate(found) if found else None

    def _over_products(self, other: Timing) -> dict[PassId, Logs]:
        """By pass, the mean over blocks of the ratio of the medians of their rounds."""
        found = {}
        for number in self.blocks:
            blocks, floor = self.blocks[number], other.products.get(number, {})
            names = (
                self._names[number] if other is self else (*self._names[number], *_names(other.records[0]))
            )
            pairs = [
                statistics.median(blocks[b], f"{b}", *names)
                - statistics.median(floor[b], f"floor {b}", *names)
                for b in sorted(set(blocks) & set(floor))
            ]
            if pairs:
                found[number] = statistics.mean(pairs, "blocks", *names)
        return found

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
    seconds, blocks, products = {}, {}, {}
    for record in records:
        number = pass_of(record)
        blocks[number] = _samples(record, what)
        every = [s for block in blocks[number].values() for s in block]
        seconds[number] = statistics.median(every, what, *_names(record))
        products[number] = _samples(record, f"floor_{what}")
    samples = [s for record in records for block in _samples(record, what).values() for s in block]
    return Timing(row, what, records, seconds, blocks, products, statistics.spread(samples), len(samples))


def common_floor(timed: Sequence[Timing]) -> Timing | None:
    """Whose GEMM floor all rows of a comparison on a CPU may be held against: the first of NumPy's rows."""
    found = (item for item in timed if item.row["implementation"] == COMMON and item.floors)
    return next(found, None)


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


def path(item: Timing) -> str:
    """How it ran, by its own account."""
    paths = {", ".join(f"{k} {v}" for k, v in sorted(r["body"]["path"].items())) for r in item.records}
    return "; ".join(sorted(paths))


def pass_of(record: Record) -> PassId:
    """Its campaign and pass."""
    return record["body"]["campaign"], record["body"]["pass"]


def _names(record: Record) -> tuple[str, ...]:
    """Seeds a row's draws: the same for the same record, whatever else is in the report."""
    return canonical(record["row"]), record["id"]
