"""Whether a number came out again: ``python -m reports.reproduced ID --new DIR``.

The second half of ``nox -s reproduce -- ID``. Exit code 0: reproduced; 1: not; 2: a mistake; 3: other
hardware, where times are not compared but their ratio to the GEMM floor is.

**Times and memory.** The old and the new passes are two independent samples. To hold the old value against
the interval of the new one would leave the old one's own scatter out: of three passes each, and the same
truth, it lies outside a 95 % interval one time in eleven. Reproduced is what has 1 inside the 95 % interval
of new over old, by Student's t on the logarithms with the scatter of both. A wide interval reproduces much:
the text says which change it would not have seen.

**Quality** is judged to the bit, and otherwise by the margin of equivalence that the task states;
**parity** by the outcome of each level. Neither hangs on how fast a machine is.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports import measured, quiet, statistics
from reports.measured import Timing
from reports.rows import Row, select
from reports.statistics import Estimate
from reports.tables import MIB
from results import ids, lookup, store
from results.errors import UserError
from results.lookup import ROOT, Found
from results.record import Record, decoded

REPRODUCED, NOT_WITHIN, OTHER_HARDWARE = "reproduced", "not within the interval", "other hardware"
CODES = {REPRODUCED: 0, OTHER_HARDWARE: 3}  # all else: 1
MILLI = 1e3


@dataclass(frozen=True)
class Verdict:
    """What came of it: the lines that show it, the word, and why."""

    lines: tuple[str, ...]
    word: str
    why: str

    @property
    def code(self) -> int:
        """The exit code."""
        return CODES.get(self.word, 1)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Judge, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reports.reproduced", description=__doc__.splitlines()[0])
    lookup.add_options(parser)
    parser.add_argument("--new", type=Path, required=True, metavar="DIR", help="folder of the new records")
    # What suites.reproduce takes besides, so that both halves can be given the same.
    for flag in ("--impl", "--task", "--passes", "--blocks"):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        found = lookup.look_up(options, root)
        row, new = again(found, store.read_all(options.new)[0])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verdict = judged(found, row, new)
    print(f"\n{found.id}: {ids.in_words(found.newest)}")
    for line in (*since(found.newest, new[-1]), *verdict.lines):
        print(f"  {line}")
    print(f"{verdict.word}: {verdict.why}")
    return verdict.code


def again(found: Found, records: Sequence[Record]) -> tuple[Row, list[Record]]:
    """The same row among the new records, and those of the kind, oldest first. Raises UserError."""
    old = found.newest
    if len({record["provenance"]["source"] for record in records}) > 1:
        raise UserError(f"{found.id}: the source changed while the row was measured again. Measure it anew.")
    same = [record for record in records if record["kind"] == old["kind"] and record["row"] == old["row"]]
    for row in select(records)[0]:
        if same and row.any["row"] == old["row"]:
            return row, same
    raise UserError(
        f"{found.id}: expected a new record of {ids.in_words(old)}, got none. Measure it: "
        f"nox -s reproduce -- {found.id}"
    )


def judged(found: Found, row: Row, records: Sequence[Record]) -> Verdict:
    """The verdict by what the number tells."""
    old, new = found.newest, records[-1]
    if "levels" not in old["body"] and (old["status"], new["status"]) != ("ok", "ok"):
        lines = tuple(f"{name}  {side['status']}  {side['reason']}" for name, side in _named(old, new))
        word = REPRODUCED if old["status"] == new["status"] else "not reproduced"
        return Verdict(lines, word, f"{old['status']} then, {new['status']} now")
    if row.verdict and old["kind"] != "parity":
        return Verdict((), "not reproduced", f"the row has no number now: {row.verdict}")
    if found.what in ids.TIMED:
        return timed(found, row)
    if found.what == "memory":
        return memory(found, records)
    return quality(old, new) if found.what == "quality" else parity(old, new)


def timed(found: Found, row: Row) -> Verdict:
    """Times, and their ratio to the floor."""
    old_row, threads = select(found.records)[0][0], ids.threads(found.newest)
    old, new = measured.timing(old_row, threads, found.what), measured.timing(row, threads, found.what)
    if old is None or new is None:
        which = "old" if old is None else "new"
        return Verdict((), "not reproduced", f"the {which} records have no time with {threads} threads")
    time = ratio([unit.value for unit in old.seconds.values()], [unit.value for unit in new.seconds.values()])
    floor = ratio(*([unit.value for unit in side.floors.values()] for side in (old, new)))
    lines = [f"{name}  {_line(side)}" for name, side in (("then", old), ("now ", new))]
    lines += [
        f"now the machine was not quiet: {why}" for state in quiet.states([row]) for why in state.disturbed
    ]
    lines.append(f"now over then: time {_ratio(time)}; over the GEMM floor {_ratio(floor)}")
    by_floor = f"the ratio to the GEMM floor: {_word(floor)}, {_why(floor)}"
    if old_row.hardware != row.hardware:
        return Verdict((*lines, *_machines(old_row.any, row.any)), OTHER_HARDWARE,
                       f"times are not compared; {by_floor}")  # fmt: skip
    return Verdict(tuple(lines), _word(time), f"{_why(time)}; {by_floor}")


def memory(found: Found, records: Sequence[Record]) -> Verdict:
    """The peak over the baseline, of which the new measurement has several."""
    old, new = found.newest, records[-1]
    if new["provenance"]["hardware_hash"] != old["provenance"]["hardware_hash"]:
        return Verdict(_machines(old, new), OTHER_HARDWARE, "memory is not compared")
    sides = [[record for record in side if record["status"] == "ok"] for side in (found.records, records)]
    peaks = [[_over_baseline(record) for record in side] for side in sides]
    change = ratio(*([math.log(peak) for peak in side] for side in peaks))
    lines = [
        f"{name}  {', '.join(f'{peak / MIB:.2f}' for peak in side)} MiB over the baseline"
        for name, side in zip(("then", "now "), peaks, strict=True)
    ]
    return Verdict((*lines, f"now over then: {_ratio(change)}"), _word(change), _why(change))


def quality(old: Record, new: Record) -> Verdict:
    """To the bit, or by how much, and whether that is within the margin."""
    metric, margin = old["body"]["metric"], new["spec"].get("margin")
    ends = [side["body"]["final"] for side in (old, new)]
    lines = tuple(
        f"{name}  {', '.join(f'{key} {value!r}' for key, value in sorted(end.items()))}"
        for (name, _), end in zip(_named(old, new), ends, strict=True)
    )
    step = _first_difference(old["body"]["curve"], new["body"]["curve"])
    if ends[0] == ends[1] and step is None:
        return Verdict(lines, REPRODUCED, "to the bit, every point of the curve and every metric at its end")
    difference = abs(ends[1].get(metric, math.nan) - ends[0].get(metric, math.nan))
    where = "" if step is None else f", apart from step {step} on"
    by = f"{metric} differs by {difference:.3g}{where}"
    if margin is None:
        return Verdict(lines, "not to the bit", f"{by}; the task states no margin of equivalence")
    within = difference <= margin
    return Verdict(
        lines,
        REPRODUCED if within else "not within the margin",
        f"not to the bit: {by}; the margin of equivalence is {margin:g}",
    )


def parity(old: Record, new: Record) -> Verdict:
    """The outcome of each level, with both errors."""
    levels = [{level["level"]: level for level in side["body"].get("levels", [])} for side in (old, new)]
    lines, other = [], []
    for number in sorted(levels[0].keys() | levels[1].keys()):
        then, now = (side.get(number) for side in levels)
        lines.append(f"level {number}  then {_level(then)}; now {_level(now)}")
        if then and now and then["status"] != now["status"]:
            other.append(f"level {number} {then['status']} then, {now['status']} now")
    if old["status"] != new["status"]:
        other.append(f"{old['status']} then, {new['status']} now")
    shared = levels[0].keys() & levels[1].keys()
    same = sum(levels[0][n]["error"] == levels[1][n]["error"] for n in shared)
    if other:
        return Verdict(tuple(lines), "not reproduced", "; ".join(other))
    return Verdict(tuple(lines), REPRODUCED,
                   f"{new['status']} again; {same} of {len(shared)} errors are equal to the bit")  # fmt: skip


def since(old: Record, new: Record) -> list[str]:
    """What has changed between the two: source, lock, versions."""
    then, now = (side["provenance"] for side in (old, new))
    lines = [f"measured {old['created']}, and again {new['created']}"]
    if then["source"] != now["source"]:
        lines.append(
            f"the source has changed since: commit {then['commit'][:12]} then, {now['commit'][:12]} now"
        )
    names = sorted(then["versions"].keys() | now["versions"].keys())
    sides = [[side["versions"].get(name, "not recorded") for name in names] for side in (then, now)]
    moved = [f"{name} {a} -> {b}" for name, a, b in zip(names, *sides, strict=True) if a != b]
    if moved:
        lines.append(f"versions differ: {', '.join(moved)}")
    if then["lock"] != now["lock"]:
        lines.append(
            "the lock has changed since" + ("" if moved else "; the versions of the row are the same")
        )
    return lines


def ratio(old: Sequence[float], new: Sequence[float]) -> Estimate | None:
    """New over old from the logarithms of independent passes, by Student's t with one variance for both
    (of one old pass the new ones' own); None without a side, or where nothing tells the scatter."""
    freedom = len(old) + len(new) - 2
    if not old or not new or freedom < 1:
        return None
    variance = sum(float(np.var(side)) * len(side) for side in (old, new)) / freedom
    half = statistics.student_t(0.975, freedom) * math.sqrt(variance * (1 / len(old) + 1 / len(new)))
    middle = float(np.mean(new) - np.mean(old))
    low, high = math.exp(middle - half), math.exp(middle + half)
    return Estimate(math.exp(middle), low, high, min(len(old), len(new)))


def _word(change: Estimate | None) -> str:
    if change is None:
        return "cannot be told from so few passes"
    return REPRODUCED if change.holds_one else NOT_WITHIN


def _why(change: Estimate | None) -> str:
    if change is None:
        return "nothing tells the scatter"
    if not change.holds_one:
        return "the 95 % interval of new over old does not hold 1"
    unseen = 100 * max(change.high / change.value - 1, 1 - change.low / change.value)
    return (
        f"the 95 % interval of new over old holds 1 (a change of less than {unseen:.2g} % would not be seen)"
    )


def _line(side: Timing) -> str:
    floor = side.over_floor()
    return (
        f"{statistics.in_words(side.step, MILLI)} ms"
        + (f", {statistics.in_words(floor)} x the GEMM floor" if floor else "")
        + f" ({len(side.seconds)} passes, {side.rounds} rounds)"
    )


def _ratio(change: Estimate | None) -> str:
    if change is None:
        return "not known"
    places = max(statistics.decimals(change.value, change.low, change.high), 2)
    return "{} ({} to {})".format(
        *(statistics.cut(x, places) for x in (change.value, change.low, change.high))
    )


def _over_baseline(record: Record) -> int:
    return max(int(record["body"]["peak_bytes"] - record["body"]["baseline_bytes"]), 1)


def _first_difference(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> int | None:
    """The first step at which a point of the curves differs, its seconds aside."""
    sides = [{point["step"]: (point["loss"], point["held_out"]) for point in curve} for curve in (old, new)]
    return next(
        (step for step in sorted({**sides[0], **sides[1]}) if sides[0].get(step) != sides[1].get(step)), None
    )


def _level(level: Mapping[str, Any] | None) -> str:
    if level is None:
        return "not asked"
    error, tolerance = (
        "none" if x is None else f"{decoded(x):.3g}" for x in (level["error"], level["tolerance"])
    )
    return f"{level['status']}, error {error} of {tolerance}"


def _machines(old: Record, new: Record) -> tuple[str, ...]:
    sides = [(name, side["provenance"]["hardware"]) for name, side in _named(old, new)]
    return tuple(f"{name}  {it['cpu']}, {it['cores']} cores, GPU: {it['gpu']}" for name, it in sides)


def _named(old: Record, new: Record) -> tuple[tuple[str, Record], ...]:
    return ("then", old), ("now ", new)


if __name__ == "__main__":
    sys.exit(main())
