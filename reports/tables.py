"""The tables that are no timings: what was measured, parity, error per level, memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports import statistics
from reports.markdown import NOTHING, brief, escape, link
from reports.rows import Row, threads, trajectory
from results.record import Record, decoded

MIB = 2**20
SHORT = 12  # characters of a hash: enough to tell, short enough to read
WHO = ("implementation", "variant", "device")


def who(row: Row) -> dict[str, str]:
    """The first columns of every table."""
    return {name: escape(row[name]) for name in WHO}


def asked(row: Row) -> dict[str, str]:
    """Which question a row answers, where a table holds several."""
    text = f"{row['size']}, T = {row['length']}, {row['data']}"
    return {
        "task": escape(row["task"]),
        "cell": escape(row["cell"]),
        "size": escape(text),
        "dtype": escape(row["dtype"]),
    }


def measured(rows: Sequence[Row]) -> pd.DataFrame:
    """A line for each implementation: with what, from where, when."""
    lines = []
    for name in dict.fromkeys(row["implementation"] for row in rows):
        records = [record for row in rows if row["implementation"] == name for record in row.records]
        days = sorted(record["created"] for record in records)
        lines.append(
            {
                "implementation": escape(name),
                "versions": _distinct(records, lambda r: _pairs(r["provenance"]["versions"])),
                "commit": _distinct(records, lambda r: r["provenance"]["commit"][:SHORT]),
                "uncommitted changes": _distinct(records, lambda r: _yes(r["provenance"]["dirty"])),
                "source": _distinct(records, lambda r: r["provenance"]["source"][:SHORT]),
                "lock": _distinct(records, lambda r: r["provenance"]["lock"][:SHORT]),
                "thread variables": _distinct(
                    records, lambda r: _pairs(r["provenance"]["threads"]) or "none set"
                ),
                "settings read back": _distinct(records, lambda r: _pairs(r["body"].get("settings", {})))
                or NOTHING,
                "first record": days[0],
                "last record": days[-1],
                "records": str(len(records)),
            }
        )
    return pd.DataFrame(lines)


def parity_matrices(rows: Sequence[Row]) -> dict[str, pd.DataFrame]:
    """By task: implementation x variant against cell/dtype."""
    tried: dict[str, list[tuple[Row, Record]]] = {}
    for row in rows:
        if row.parity is not None:
            tried.setdefault(row["task"], []).append((row, row.parity))
    return {task: _parity_matrix(members) for task, members in sorted(tried.items())}


def _parity_matrix(tried: Sequence[tuple[Row, Record]]) -> pd.DataFrame:
    cells = [{**who(row), "case": escape(f"{row['cell']}/{row['dtype']}")} for row, _ in tried]
    return _pivot(cells, tried, parity_cell)


def parity_cell(tried: Sequence[tuple[Row, Record]]) -> str:
    """The worst of the rows, and how many of them passed where there are several."""
    text = _outcome(*max(tried, key=_severity))
    passed = sum(not row.verdict for row, _ in tried)
    return text if len(tried) == 1 else f"{text}; {passed} of {len(tried)} rows passed"


def level_errors(rows: Sequence[Row]) -> pd.DataFrame:
    """Implementation x variant x dtype against level; the worst over the rows."""
    cells, levels = [], []
    for row in rows:
        if row.parity is None or row.void or row.parity["status"] == "deviates":
            continue
        for level in row.parity["body"]["levels"]:
            name = f"{level['level']} {level['name']}"
            cells.append({**who(row), "dtype": escape(row["dtype"]), "case": escape(name)})
            levels.append(level)
    return _pivot(cells, levels, _level_cell)


def trajectories(rows: Sequence[Row]) -> pd.DataFrame:
    """Implementation x variant x dtype: how far training was followed, and whether it repeats to the bit."""
    groups: dict[tuple[str, ...], list[tuple[Row, Mapping[str, Any]]]] = {}
    for row in rows:
        level = trajectory(row.parity) if row.parity and not row.void else None
        if level is not None:
            groups.setdefault((*who(row).values(), escape(row["dtype"])), []).append((row, level))
    lines = [
        {
            **dict(zip((*WHO, "dtype"), key, strict=True)),
            "rows": str(len(members)),
            "steps inside the envelope": _inside([level for _, level in members]),
            "twice in a process": _twice(members),
            "in several processes": _across([row for row, _ in members]),
        }
        for key, members in sorted(groups.items())
    ]
    return pd.DataFrame(lines)


def memory(rows: Sequence[Row]) -> pd.DataFrame:
    """Peak over baseline in MiB, and what the device's allocator says."""
    lines = []
    for row in rows:
        for record in row.memory:
            lines.append({**asked(row), **who(row), **_memory_cells(row, record)})
    return pd.DataFrame(lines)


def ratio(level: Mapping[str, Any]) -> float:
    """Error over tolerance; infinite where the error is not finite or nothing was allowed."""
    if level["error"] is None or level["tolerance"] is None:
        return 0.0
    error = decoded(level["error"])
    if error == 0:
        return 0.0
    if not math.isfinite(error) or level["tolerance"] == 0:
        return math.inf
    return float(error / level["tolerance"])


def first_failed(record: Record) -> Mapping[str, Any] | None:
    """The level at which a row left the ladder."""
    return next((level for level in record["body"]["levels"] if level["status"] == "failed"), None)


def _outcome(row: Row, record: Record) -> str:
    """One row's outcome in words."""
    if row.void:
        return "void: data or weights differ"
    status, body = record["status"], record["body"]
    if status == "passed":
        return f"passed ({_worst_ratio(record):.2g})" + _horizon(record)
    if status == "failed":
        level = first_failed(record)
        if level is None:
            return f"failed: {brief(record['reason'])}"
        return f"failed at level {level['level']} ({escape(level['tensor'])})"
    if status == "deviates" and "deviation" in body:
        return f"deviates ({link(body['deviation']['id'], body['deviation']['link'])})"
    return f"{status}: {brief(record['reason'])}"


def _horizon(record: Record) -> str:
    """How many steps of float32 training the gate could follow, where the record says."""
    level = trajectory(record)
    if level is not None and record["row"]["dtype"] == "float32":
        return f", {_steps(level)}"
    reached = any(level["status"] == "horizon reached" for level in record["body"]["levels"])
    return ", horizon reached" if reached else ""


def _steps(level: Mapping[str, Any]) -> str:
    """The steps inside the envelope: at least these where the row left it at none."""
    inside, of = level["inside"], level["of"]
    return f">= {of} steps" if inside == of else f"{inside} of {of} steps"


def _inside(levels: Sequence[Mapping[str, Any]]) -> str:
    """Of the row that was followed least."""
    return _steps(min(levels, key=lambda level: level["inside"] / level["of"]))


def _twice(members: Sequence[tuple[Row, Mapping[str, Any]]]) -> str:
    """The row that repeats worst, within its process."""
    unequal = [(row, level["repeat"]) for row, level in members if not level["repeat"]["equal"]]
    if not unequal:
        return "bit-equal"
    row, repeat = max(unequal, key=lambda found: decoded(found[1]["difference"]))
    return _astray(len(unequal), row, decoded(repeat["difference"]), repeat["step"])


def _across(rows: Sequence[Row]) -> str:
    """The row whose losses differ most between its records of the same key."""
    compared = [row for row in rows if row.repeated]
    if not compared:
        return "one record each"
    found = [(row, *found) for row in compared if (found := _losses_apart(row))]
    if not found:
        return f"losses equal, {len(compared)} rows, {sum(1 + len(row.repeated) for row in compared)} records"
    return _astray(len(found), *max(found, key=lambda each: each[1]))


def _losses_apart(row: Row) -> tuple[float, int] | None:
    """The largest relative difference between the losses of a row's records, and the first step."""
    runs = [trajectory(record) for record in (row.parity, *row.repeated) if record is not None]
    largest, first = 0.0, 0
    for step, values in enumerate(zip(*(run["losses"] for run in runs if run), strict=False), start=1):
        losses = [decoded(value) for value in values]
        if len(set(map(repr, losses))) > 1:
            apart = (max(losses) - min(losses)) / (max(map(abs, losses)) or 1)
            largest, first = max(largest, apart if math.isfinite(apart) else math.inf), first or step
    return (largest, first) if first else None


def _astray(count: int, row: Row, difference: float, step: int) -> str:
    """By how much, from where, which row, and by how many threads."""
    records = [record for record in (row.parity, *row.repeated) if record is not None]
    used = " or ".join(sorted({threads(record) for record in records}))
    name = escape(f"{row['task']} {row['cell']}")
    return f"{count} not: by {difference:.0e} from step {step} on ({name}, threads {used})"


def _worst_ratio(record: Record) -> float:
    return max((ratio(level) for level in record["body"]["levels"]), default=0.0)


def _severity(tried: tuple[Row, Record]) -> tuple[int, float]:
    row, record = tried
    order = ("passed", "skipped", "deviates", "failed")
    return (len(order) if row.void else order.index(record["status"])), _worst_ratio(record)


def _level_cell(levels: Sequence[Mapping[str, Any]]) -> str:
    """Error and error/tolerance of the level nearest to its tolerance, or past it."""
    worst = max(
        levels, key=lambda level: (level["status"] == "failed", level["error"] is not None, ratio(level))
    )
    if worst["error"] is None:
        return str(worst["status"])
    error = decoded(worst["error"])
    text = "equal" if error == 0 else f"{error:.1e} ({ratio(worst):.2g})"
    if worst["status"] == "failed":
        return f"failed: {text}"
    horizon = any(level["status"] == "horizon reached" for level in levels)
    return text + (", horizon reached" if horizon else "")


def _memory_cells(row: Row, record: Record) -> dict[str, str]:
    body = record["body"]
    if row.verdict:
        text = f"unmeasured: {row.verdict}"
    elif record["status"] != "ok":
        text = f"{record['status']}: {brief(record['reason'])}"
    else:
        over = (body["peak_bytes"] - body["baseline_bytes"]) / MIB
        device = ", ".join(
            f"{escape(name)} {size / MIB:.1f}" for name, size in sorted(body["device_peak"].items())
        )
        return {
            "peak over baseline, MiB": f"{over:.1f}",
            "baseline, MiB": f"{body['baseline_bytes'] / MIB:.1f}",
            "device, MiB": device or NOTHING,
            "steps": statistics.cut(body["steps"], 0),
        }
    return {"peak over baseline, MiB": text}


def _pivot(
    cells: list[dict[str, str]], values: Sequence[Any], show: Callable[[Sequence[Any]], str]
) -> pd.DataFrame:
    """Lines by all keys but "case", a column a case; ``show`` makes one text of the values that meet."""
    if not cells:
        return pd.DataFrame()
    frame = pd.DataFrame(cells)
    keys = [name for name in frame.columns if name != "case"]
    groups = frame.groupby([*keys, "case"], sort=True).indices
    found = {key: show([values[int(index)] for index in where]) for key, where in groups.items()}
    wide = pd.Series(found).rename_axis([*keys, "case"]).unstack("case").fillna(NOTHING)
    return wide.reset_index().rename_axis(columns=None)


def _distinct(records: Sequence[Record], field: Callable[[Record], str]) -> str:
    return escape("; ".join(sorted({field(record) for record in records} - {""})))


def _pairs(mapping: Mapping[str, Any]) -> str:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in mapping.items()}
    return ", ".join(f"{name} {text}" for name, text in sorted(texts.items()))


def _yes(dirty: bool | str) -> str:
    return dirty if isinstance(dirty, str) else ("yes" if dirty else "no")
