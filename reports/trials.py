"""How often the measuring errs: ``python -m reports.trials --records DIR``, the end of ``nox -s trials``.

The records are those of ``suites/bench/trials``: one row under two names, and slowed down by known
shares, in many passes. Each so many passes are one repeat, judged as the report would judge them.
The exit code is 1 where the intervals call equal rows different, or miss what was planted, too often;
2 on a mistake.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports import measured, statistics
from reports.markdown import NOTHING, escape, table
from reports.measured import Timing
from reports.rows import select, version
from reports.statistics import Estimate
from results import store
from results.errors import UserError
from results.record import Record, canonical
from results.store import age

WORKS = ("train", "infer", "decode")
PASSES = 10  # of a comparison of five rows by default (suites/bench)
PLANTED = "slowed_by"  # in a record's path: the share that suites/bench/trials planted
JUDGED = 0.05  # the slow-down that must be found
FOUND_AT_LEAST = 0.9
FALSE_AT_MOST = 0.05

INTRODUCTION = """\
# The measuring, measured

One row under two names, and slowed down by planted shares, each a process of its own in every pass: \
{repeats} repeats of {passes} passes with {blocks} blocks, {rows}, {machine}. A repeat is judged as the \
report judges a comparison. *Separable*: the 98 % interval of the ratio of the two times does not \
hold 1, which for two names of one row is a false difference; *found*: it lies above 1. In brackets the \
95 % interval of the share (Wilson 1927). *Scatter*: the standard deviation of the ratio from pass to \
pass; *half width*: of the interval of the ratio.
"""


@dataclass(frozen=True)
class Comparison:
    """Two rows of one repeat, the one that was slowed down more over the other."""

    what: str
    slower: float  # planted share
    faster: float
    first: bool  # whether the other is the first of those that were slowed down as little
    found: Estimate
    logs: tuple[float, ...]  # the logarithm of the ratio in each pass

    @property
    def truth(self) -> float:
        """The ratio that was planted."""
        return (1 + self.slower) / (1 + self.faster)

    @property
    def missed(self) -> bool:
        """Whether the interval does not hold the truth."""
        return not self.found.low <= self.truth <= self.found.high


@dataclass(frozen=True)
class Line:
    """One kind of work and one planted share, over all repeats."""

    what: str
    share: float
    comparisons: tuple[Comparison, ...]

    @property
    def found(self) -> list[Estimate]:
        """The ratio in each repeat."""
        return [item.found for item in self.comparisons]

    @property
    def hits(self) -> int:
        """Separable where nothing was planted, else found to be slower."""
        return sum(item.low > 1 or (self.share == 0 and item.high < 1) for item in self.found)

    @property
    def scatter(self) -> float:
        """Standard deviation of the ratio's logarithm from pass to pass, within repeats."""
        return math.sqrt(float(np.mean([np.var(item.logs, ddof=1) for item in self.comparisons])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print, write, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        records = [_shortened(record, options.blocks) for record in store.read_all(options.records)[0]]
        repeats = repeated(records, options.passes)
        page, met = judged(repeats, options.passes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page, end="")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page, encoding="utf-8")
    return 0 if met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports.trials", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--records", type=Path, required=True, help="folder of records of suites.bench.trials"
    )
    parser.add_argument("--passes", type=int, default=PASSES, help="passes of a repeat")
    parser.add_argument("--blocks", type=int, help="judge by only the first so many blocks of each group")
    parser.add_argument("--out", type=Path, help="file that the page is written to, too")
    return parser


def _shortened(record: Record, blocks: int | None) -> Record:
    """As if its group had had so many blocks: tells what a shorter run would have said."""
    body = record["body"]
    if blocks is None or "blocks" not in body:
        return record
    kept = [block for block in body["blocks"] if block["block"] < blocks]
    return record | {"body": body | {"blocks": kept}}


def repeated(records: Sequence[Record], passes: int) -> list[list[Record]]:
    """The records of each whole repeat: of so many passes in turn in which every row was timed.

    Only the newest campaign counts, and of it what the newest source gave. Raises UserError where
    there is no whole repeat.
    """
    timed = [r for r in records if r["kind"] == "bench" and PLANTED in r["body"].get("path", {})]
    if not timed or passes < 1:
        raise UserError(
            "expected records of `nox -s trials` and at least one pass a repeat, got "
            f"{len(timed)} such record(s) and {passes}."
        )
    newest = {canonical(record["row"]): version(record) for record in sorted(timed, key=age)}
    campaign = max(timed, key=age)["body"]["campaign"]
    of_pass: dict[int, dict[str, Record]] = defaultdict(dict)
    for record in sorted(timed, key=age):
        row, body = canonical(record["row"]), record["body"]
        if (body["campaign"], record["status"], version(record)) == (campaign, "ok", newest[row]):
            of_pass[body["pass"]][row] = record
    rows = {row for found in of_pass.values() for row in found}
    whole = [list(found.values()) for _, found in sorted(of_pass.items()) if set(found) == rows]
    proofs = [record for record in records if record["kind"] == "parity"]
    repeats = [
        proofs + list(itertools.chain(*whole[start : start + passes]))
        for start in range(0, len(whole) - passes + 1, passes)
    ]
    if not repeats:
        raise UserError(
            f"expected at least one repeat of {passes} passes, got {len(whole)} whole pass(es). "
            "Measure on: the same command goes on where it was."
        )
    return repeats


def comparisons(records: Sequence[Record]) -> list[Comparison]:
    """Every two rows of one repeat, in every kind of work. Raises UserError for a row that is not proven."""
    found = []
    rows, _ = select(records)
    for row in rows:
        if row.verdict:
            raise UserError(f"{row['implementation']}: expected a proven row, got: {row.verdict}.")
    for group in measured.groups(rows):
        for what in WORKS:
            timed = sorted(measured.timings(group, what), key=lambda item: (_share(item), _name(item)))
            for fast, slow in itertools.combinations(timed, 2):
                ratio = slow.over(fast)
                if ratio is not None:
                    logs = tuple(one.value for one in slow.ratios(fast).values())
                    shares = (_share(slow), _share(fast))
                    found.append(Comparison(what, *shares, fast is timed[0], ratio, logs))
    return found


def _name(item: Timing) -> str:
    return canonical(item.row.any["row"])


def _share(item: Timing) -> float:
    return float(item.records[0]["body"]["path"][PLANTED])


def lines(found: Sequence[Comparison]) -> list[Line]:
    """Every row against the first that was not slowed down, by work and planted share."""
    same: dict[tuple[str, float], list[Comparison]] = defaultdict(list)
    for item in found:
        if item.first:
            same[item.what, item.slower].append(item)
    order = sorted(same, key=lambda key: (WORKS.index(key[0]), key[1]))
    return [Line(what, share, tuple(same[what, share])) for what, share in order]


def judged(repeats: Sequence[Sequence[Record]], passes: int) -> tuple[str, bool]:
    """The page, and whether both bars are met.

    False differences are counted over all kinds of work together, for they are too few in one.
    """
    found = [item for records in repeats for item in comparisons(records)]
    every = lines(found)
    equal = [line for line in every if line.share == 0]
    planted = [line for line in every if line.share == JUDGED]
    if not equal or not planted:
        raise UserError(
            f"expected a row under two names and one {100 * JUDGED:g} % slower, got no such pair."
        )
    wrong, pairs = sum(line.hits for line in equal), sum(len(line.found) for line in equal)
    no_more = wrong <= FALSE_AT_MOST * pairs
    enough = all(line.hits >= FOUND_AT_LEAST * len(line.found) for line in planted)
    bars = (
        f"\n- False differences: {wrong} of {pairs}, {_with_interval(wrong, pairs)}, in all kinds of work "
        f"together; at most {100 * FALSE_AT_MOST:g} %: **{_met(no_more)}**."
        f"\n- {100 * JUDGED:g} % slower: found in at least {100 * FOUND_AT_LEAST:g} % of the repeats in "
        f"every kind of work: **{_met(enough)}**.\n"
    )
    page = (
        _introduction(repeats, passes),
        table([_cells(line) for line in every]),
        bars + _coverage(found),
    )
    return "\n".join(page), no_more and enough


def _coverage(found: Sequence[Comparison]) -> str:
    """How often an interval did not hold what was planted, over every two rows."""
    missed = sum(item.missed for item in found)
    return (
        f"- Of all {len(found)} pairs, whose true ratio is known, {missed} intervals missed it "
        f"({100 * missed / len(found):.1f} %; they are not independent).\n"
    )


def _cells(line: Line) -> dict[str, str]:
    ratios = [item.value for item in line.found]
    halves = [(item.high - item.low) / 2 for item in line.found]
    seen = "separable" if line.share == 0 else "found"
    return {
        "work": line.what,
        "planted": f"{100 * line.share:g} %" if line.share else "nothing",
        "outcome": f"{seen} in {line.hits} of {len(line.found)}",
        "share": _with_interval(line.hits, len(line.found)),
        "median ratio": f"{np.median(ratios):.3f}",
        "ratios from, to": f"{min(ratios):.3f}, {max(ratios):.3f}",
        "scatter": f"{100 * line.scatter:.1f} %" if len(line.comparisons[0].logs) > 1 else NOTHING,
        "median half width": f"{np.median(halves):.3f}",
    }


def _introduction(repeats: Sequence[Sequence[Record]], passes: int) -> str:
    """What was run, and where."""
    timed = [record for record in repeats[-1] if record["kind"] == "bench"]
    body, hardware = timed[-1]["body"], timed[-1]["provenance"]["hardware"]
    asked = {f"{r['row']['task']} {r['row']['cell']} {r['row']['size']}" for r in timed}
    kernels = {r["body"]["path"].get("kernel", NOTHING) for r in timed}
    versions = {f"{k} {v}" for k, v in timed[-1]["provenance"]["versions"].items() if k != "python"}
    return INTRODUCTION.format(
        repeats=len(repeats),
        passes=passes,
        blocks=1 + max(block["block"] for block in body["blocks"]),
        rows=escape(
            f"{', '.join(sorted(asked))} ({', '.join(sorted(kernels))}; {', '.join(sorted(versions))})"
        ),
        machine=escape(f"{hardware['cpu']}, {hardware['cores']} cores used at most"),
    )


def _with_interval(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    z2 = statistics.Z_975**2
    share = hits / of
    middle = share + z2 / (2 * of)
    half = statistics.Z_975 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    # Rounding may leave a hair outside 0 to 1.
    return max((middle - half) / (1 + z2 / of), 0.0), min((middle + half) / (1 + z2 / of), 1.0)


def _met(met: bool) -> str:
    return "met" if met else "not met"


if __name__ == "__main__":
    sys.exit(main())
