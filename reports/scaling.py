"""Curves: time and memory of training against T, B and H, and what a time step adds to memory.

A curve's points are rows whose specs differ in one of T, B, H alone, and that ran in a campaign
which varied one of them (``python -m suites.bench.curves``). They stand in the tables here and
not in those of single questions, which would be one a point.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import measured, speed
from reports.markdown import NOTHING, escape
from reports.rows import Row, threads, version
from reports.statistics import Estimate, in_words
from reports.tables import MIB
from results.record import Record, canonical

TEXT = (
    "Rows that differ in one of T, B, H alone. *Exponent*: d log t / d log of the axis between the outermost "
    "points of the row, by their ratio, with its interval: 1 is proportional, 0 is overhead. Where a row has "
    "one pass, its intervals come from rounds only, and say nothing of the drift from point to point."
)
MEMORY_TEXT = (
    "MiB over the baseline after import (on a GPU, the allocator's peak), one run a point. *Growth*: the "
    "difference between the outermost points over the steps between them. *Must be kept*: what "
    "backpropagation through time reads of each step and cannot make anew element by element: "
    "B L D k H numbers, with k = 1 (rnn: h), 6 (lstm: i, f, g, o, c, h), 5 (gru: r, z, n, h and what r "
    "multiplies), 4 (gru\\_reset\\_before: r, z, n, h), and B O of a head that answers every step."
)
# What a step's backward pass reads, in vectors of H; see kept().
VECTORS = {"rnn": 1, "lstm": 6, "gru": 5, "gru_reset_before": 4}
ITEMSIZE = {"float32": 4, "float64": 8}
ALLOCATORS = ("allocated_bytes", "peak_bytes_in_use")  # as PyTorch and TensorFlow name it, and JAX
RESOLVED = MIB  # the system and the allocators hand out memory in pieces: less apart tells nothing
QUESTION = ("task", "cell", "data", "dtype", "device", "seed")
AXES = ("T", "B", "H")


@dataclass(frozen=True)
class Family:
    """The curves that lie in one diagram: one question but for the axis, at one number of threads."""

    axis: str
    threads: str
    lines: Mapping[tuple[str, ...], Mapping[int, Row]]  # by who and version; rows by value on the axis

    @property
    def values(self) -> list[int]:
        """Of all lines together, rising."""
        return sorted({value for line in self.lines.values() for value in line})

    @property
    def title(self) -> str:
        """The question in words, and where the other two stay, as plain text."""
        row = next(iter(next(iter(self.lines.values())).values()))
        at = places(row)
        still = ", ".join(f"{letter} = {at[letter]}" for letter in AXES if letter != self.axis)
        seed = "" if row["seed"] == "0" else f", seed {row['seed']}"
        parts = (row["task"], row["cell"], row.any["spec"]["size"], row["data"] + seed, row["dtype"])
        about = ", ".join((*parts, row["device"]))
        return f"along {self.axis} at {still}: {about}, threads: {self.threads}"


def places(row: Row) -> dict[str, int]:
    """T, B and H of a row."""
    spec = row.any["spec"]
    return {"T": spec["length"], "B": spec["batch"], "H": spec["model"].get("hidden", 0)}


def points(rows: Sequence[Row]) -> list[Row]:
    """The rows that are points of curves: timed in a campaign in which one of T, B, H took several values."""
    values: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for row in rows:
        for campaign in _campaigns(row):
            for axis in AXES:
                values[campaign, axis, *_line(row), _rest(row, axis)].add(places(row)[axis])
    varied = {campaign for (campaign, *_), found in values.items() if len(found) > 1}
    return [row for row in rows if _campaigns(row) & varied]


def families(rows: Sequence[Row]) -> list[Family]:
    """The diagrams of one section, axis by axis."""
    rows = points(rows)
    counts = {threads(record) for row in rows for record in row.bench}
    known = sorted(counts - {"unknown"}, key=int) or sorted(counts)
    found = []
    for axis in AXES:
        same: dict[tuple[str, ...], dict[tuple[str, ...], dict[int, Row]]] = defaultdict(dict)
        for row in rows:
            key = (*(row[name] for name in QUESTION), _rest(row, axis))
            same[key].setdefault(_line(row), {})[places(row)[axis]] = row
        for _, lines in sorted(same.items()):
            if len({value for line in lines.values() for value in line}) > 1:
                found += [Family(axis, count, lines) for count in known]
    return found


def times(family: Family) -> pd.DataFrame:
    """A line an implementation and variant: ms per step at each point, and the exponent."""
    lines = []
    for line in family.lines.values():
        timed = {value: timing(row, family.threads) for value, row in line.items()}
        cells = {value: _time(row, timed[value], family.threads) for value, row in line.items()}
        known = {value: timing for value, timing in timed.items() if timing is not None}
        passes = sorted({len(timing.seconds) for timing in known.values()})
        lines.append(
            {
                **_who(line),
                **{f"{family.axis} = {value}": cells.get(value, NOTHING) for value in family.values},
                "exponent": exponent(known),
                "passes": " or ".join(map(str, passes)) or NOTHING,
                "path": "; ".join(dict.fromkeys(escape(measured.path(timing)) for timing in known.values()))
                or NOTHING,
            }
        )
    return pd.DataFrame(lines)


def exponent(timed: Mapping[int, measured.Timing]) -> str:
    """log(t_2 / t_1) / log(x_2 / x_1) of the outermost points x_1 < x_2.

    The ratio is paired by pass where the points share passes, else its interval is the widest
    that those of the two allow.
    """
    if len(timed) < 2:
        return NOTHING
    low, high = min(timed), max(timed)
    first, last = timed[low], timed[high]
    ratio = last.over(first) or Estimate(
        last.step.value / first.step.value,
        last.step.low / first.step.high,
        last.step.high / first.step.low,
        0,
    )
    span = math.log(high / low)
    return "{:.2f} ({:.2f} to {:.2f})".format(
        *(math.log(x) / span for x in (ratio.value, ratio.low, ratio.high))
    )


def memories(family: Family) -> pd.DataFrame:
    """A line an implementation and variant: MiB at each point, along T the growth per step beside."""
    lines = []
    for line in family.lines.values():
        sizes = {value: size for value, row in line.items() if (size := peak(row, family.threads))}
        if not sizes:
            continue
        cells = {f"{family.axis} = {value}": NOTHING for value in family.values}
        cells |= {f"{family.axis} = {value}": f"{size / MIB:.1f}" for value, size in sizes.items()}
        row = next(iter(line.values()))
        lines.append({**_who(line), **cells, **(_growth(row, sizes) if family.axis == "T" else {})})
    return pd.DataFrame(lines)


def growth(sizes: Mapping[int, int]) -> float | None:
    """(peak(T_2) - peak(T_1)) / (T_2 - T_1) in bytes a step, between the outermost points.

    None where there is one point, or where the peaks lie too near each other to tell.
    """
    low, high = min(sizes), max(sizes)
    grown = sizes[high] - sizes[low]
    return grown / (high - low) if abs(grown) >= RESOLVED else None


def kept(spec: Mapping[str, Any], dtype: str) -> int:
    """Bytes of one time step that backpropagation through time must find kept, of all layers.

    B (L D k H + O) itemsize. With a' the derivative of an activation, which is a function of its
    value (tanh' = 1 - h^2, sigmoid' = s (1 - s)), a cell's backward pass reads, beside the weights:

        rnn   h_t                                         dh_t (1 - h_t^2), and h_{t-1} for W_hh
        lstm  i, f, g, o, c_t, h_t                        tanh(c_t) is made of c_t, element by element
        gru   r, z, n, h_t, q_t = h_{t-1} W_hn + b_hn     dr = dn (1 - n^2) q
        gru_reset_before  r, z, n, h_t                    r h_{t-1}, for W_hn, is made of both

    k vectors of H, for each of L layers in D directions; x_t is h_t of the layer below, an input, or
    looked up again. A head that answers every step adds its O probabilities. T is the encoder's
    length, so neither decoder nor head of an encoder-decoder counts.
    """
    model = spec["model"]
    directions = 2 if model.get("bidirectional") else 1
    vectors = VECTORS[model["cell"]] * model["hidden"] * model.get("layers", 1) * directions
    answers = model.get("head") == "every" and model.get("wiring") != "encoder_decoder"
    return int(spec["batch"] * (vectors + (model["outputs"] if answers else 0)) * ITEMSIZE[dtype])


def _growth(row: Row, sizes: Mapping[int, int]) -> dict[str, str]:
    found = growth(sizes)
    cells = {"growth, KiB per step": NOTHING if len(sizes) < 2 else "peaks less than 1 MiB apart"}
    if row["cell"] not in VECTORS or row["dtype"] not in ITEMSIZE:
        return cells
    must = kept(row.any["spec"], row["dtype"])
    if found is not None:
        cells = {"growth, KiB per step": f"{found / 1024:.1f}"}
    cells["must be kept, KiB per step"] = f"{must / 1024:.1f}"
    cells["growth / must be kept"] = NOTHING if found is None else f"{found / must:.1f}"
    return cells


def _time(row: Row, timing: measured.Timing | None, count: str) -> str:
    if timing is None:
        return speed.why_untimed(row, count)
    return in_words(timing.step, 1e3)


def timing(row: Row, count: str) -> measured.Timing | None:
    """Of a training step; None where the row may not be shown, or was not timed."""
    return None if row.verdict else measured.timing(row, count, "train")


def peak(row: Row, count: str) -> int | None:
    """Bytes of the memory pass: over the baseline, or the GPU allocator's peak."""
    if row.verdict:
        return None
    for record in reversed(row.memory):
        if record["status"] == "ok" and threads(record) == count:
            return _peak(record)
    return None


def _peak(record: Record) -> int | None:
    body = record["body"]
    if record["row"]["device"] == "cpu":
        return int(body["peak_bytes"] - body["baseline_bytes"])
    return next((body["device_peak"][name] for name in ALLOCATORS if name in body["device_peak"]), None)


def _who(line: Mapping[int, Row]) -> dict[str, str]:
    row = next(iter(line.values()))
    return {name: escape(row[name]) for name in ("implementation", "variant")}


def _line(row: Row) -> tuple[str, ...]:
    """Whose point it is: points of different sources or versions make no curve."""
    return row["implementation"], row["variant"], *version(row.any)[1:]


def _campaigns(row: Row) -> set[str]:
    return {record["body"]["campaign"] for record in row.bench if "campaign" in record["body"]}


def _rest(row: Row, axis: str) -> str:
    """The question but for what the axis sets. Of a lone decoder, S is T."""
    spec = json.loads(canonical(row.any["spec"]))
    if axis == "T":
        spec.pop("length")
        if spec["model"].get("wiring") == "decoder":
            spec.pop("target_length", None)
    elif axis == "B":
        spec.pop("batch")
    else:
        spec["model"].pop("hidden", None)
    return canonical([spec, *(row[name] for name in QUESTION)])
