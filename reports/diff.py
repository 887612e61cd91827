"""What got slower: ``python -m reports.diff OLD NEW`` (``nox -s diff -- OLD NEW``).

OLD and NEW are folders of records, or names of published sets. The exit code is 1 where a
row got slower by more than the threshold, or is no longer proven, or no longer runs; 0
where not; 2 on a mistake. Nothing is moved or written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import changes, quiet, statistics
from reports.changes import Change, Pair
from reports.markdown import NOTHING, brief, escape, table
from reports.rows import Row, select
from reports.statistics import Estimate
from reports.tables import MIB, asked, who
from results import store
from results.errors import UserError, unknown

ROOT = Path(__file__).resolve().parent.parent
THRESHOLD = 0.05  # above what a ratio to the floor scatters from pass to pass (reports/changes.py)
ORDER = ("slower", "faster", "not separable", "no change", "too few passes", "other hardware")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Compare, print, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        old, new = (rows(name, root) for name in (options.old, options.new))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found, only_old, only_new = changes.pairs(old, new)
    page, regressions = compared(found, options.threshold)
    print(page + _only("old", only_old) + _only("new", only_new) + _noise("old", old) + _noise("new", new))
    return 1 if regressions else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.diff", description="What got slower between two result sets."
    )
    for name in ("old", "new"):
        parser.add_argument(name, metavar=name.upper(), help="a folder of records, or a published set")
    parser.add_argument("--threshold", type=_share, default=THRESHOLD, metavar="SHARE",
                        help=f"change that matters, as a share ({THRESHOLD} by default: 5 %%)")  # fmt: skip
    return parser


def _share(text: str) -> float:
    """A number from 0 up. Raises argparse's error, which ends in exit code 2."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a share, 0.05 for 5 %, got {text!r}")
    return value


def rows(name: str, root: Path) -> list[Row]:
    """The rows of a folder or a published set. Raises UserError, also on a damaged record:
    what is missing from a comparison must not be missed by chance."""
    published = root / "results" / "published"
    folder = Path(name) if Path(name).is_dir() else published / name
    if not folder.is_dir():
        raise unknown("folder or published set", name, (path.name for path in published.glob("*")))
    records, _ = store.read_all(folder, keep_aside=False)
    if not records:
        raise UserError(f"{name}: expected records, got none. Measure first: `nox -s compare`.")
    return select(records)[0]


def compared(found: Sequence[Pair], threshold: float) -> tuple[str, int]:
    """The text, and how many regressions it holds."""
    every = [change for pair in found for change in changes.changes(pair)]
    together = sum(change.judged(1) is not None for change in every)
    lines = [_line(change, threshold, max(together, 1)) for change in every]
    lines.sort(key=lambda line: ORDER.index(line["verdict"]))
    lost = [(pair, pair.lost) for pair in found if pair.lost]
    apart = [(pair, pair.apart) for pair in found if pair.apart]
    slower = sum(line["verdict"] == "slower" for line in lines)
    parts = [_summary(found, lines, together, threshold)]
    parts += _reasons(lost, "had a number or a proof and have none now", "no longer shown")
    parts += _reasons(apart, "have timings that cannot be compared", "why")
    if lines:
        parts.append(table(lines))
    memory = [line for pair in found for line in _memory(pair)]
    if memory:
        parts.append(f"Peak memory over the baseline, MiB; one run each, so no verdict:\n\n{table(memory)}")
    parts.append(f"{slower + len(lost)} regression(s): {slower} slower, {len(lost)} no longer shown.")
    return "\n\n".join(parts), slower + len(lost)


def _reasons(pairs: Sequence[tuple[Pair, str]], what: str, column: str) -> list[str]:
    """A line a row, with its reason."""
    lines = [{**asked(pair.new), **who(pair.new), column: brief(text)} for pair, text in pairs]
    return [f"{len(lines)} row(s) {what}:\n\n{table(lines)}"] if lines else []


def _summary(found: Sequence[Pair], lines: Sequence[dict[str, str]], together: int, threshold: float) -> str:
    """What the table holds and how its verdicts are made."""
    text = (
        f"{len(found)} row(s) in both sets, {len(lines)} timing(s) of them to compare, {together} with a "
        f"verdict: new over old, slower above {1 + threshold:g}, faster below {1 / (1 + threshold):.3g}. "
        f"The verdict rests on the ratio to the GEMM floor, which another state of the machine moves least; "
        f"its intervals hold for all {together} at once with 95 %, those of the time one by one."
    )
    if sum(line["verdict"] == "not separable" for line in lines) > len(lines) / 2:
        text += " Most are not separable: more passes narrow the intervals (--passes), and so do fewer rows."
    elsewhere = sum(not pair.same_hardware for pair in found)
    if elsewhere:
        text += (
            f"\n\n{elsewhere} row(s) were measured on other hardware in the two sets: their times are "
            f"not compared, and the change of their ratio to the floor is shown without a verdict."
        )
    return text


def _line(change: Change, threshold: float, together: int) -> dict[str, str]:
    judged = change.judged(together)
    if judged is not None:
        verdict = changes.verdict(judged, threshold)
    else:
        verdict = "too few passes" if change.pair.same_hardware else "other hardware"
    return {
        "verdict": verdict,
        **asked(change.pair.new),
        **who(change.pair.new),
        "threads": change.threads,
        "work": change.what,
        "time": _with_interval(change.time()) if change.pair.same_hardware else NOTHING,
        "over floor": _with_interval(change.over_floor(together)) if change.floored else NOTHING,
        "passes": f"{len(change.old.seconds)}, {len(change.new.seconds)}",
    }


def _with_interval(found: Estimate | None) -> str:
    if found is None:
        return NOTHING
    places = max(statistics.decimals(found.value, found.low, found.high), 2)
    return "{} ({} to {})".format(*(statistics.cut(x, places) for x in (found.value, found.low, found.high)))


def _memory(pair: Pair) -> list[dict[str, str]]:
    """A line where both sets measured it, on one machine."""
    old, new = (_peaks(row) for row in (pair.old, pair.new))
    if not (old and new and pair.same_hardware):
        return []
    ratio = f"{new[-1] / old[-1]:.2f}" if old[-1] > 0 else NOTHING
    named = {"old": f"{old[-1]:.1f}", "new": f"{new[-1]:.1f}", "new over old": ratio}
    return [{**asked(pair.new), **who(pair.new), **named}]


def _peaks(row: Row) -> list[float]:
    """MiB over the baseline of what may be shown."""
    bodies = [record["body"] for record in row.memory if record["status"] == "ok" and not row.verdict]
    return [(body["peak_bytes"] - body["baseline_bytes"]) / MIB for body in bodies]


def _only(which: str, rows: Sequence[Row]) -> str:
    """The rows that the other set does not have."""
    if not rows:
        return ""
    lines = [{**asked(row), **who(row), "hardware": escape(row.hardware[:12])} for row in rows]
    return f"\n\n{len(rows)} row(s) only in the {which} set, or there with another spec:\n\n{table(lines)}"


def _noise(which: str, rows: Sequence[Row]) -> str:
    """Why the set is not to be trusted."""
    reasons = [reason for state in quiet.states(rows) for reason in state.disturbed]
    return f"\n\nIn the {which} set the machine was not quiet: {'; '.join(reasons)}." if reasons else ""


if __name__ == "__main__":
    sys.exit(main())
