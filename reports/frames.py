"""The numbers of the page, unrounded: a frame a table. The figures draw them, ``tables/*.csv`` hold them.

A column says its unit; ``*_low`` and ``*_high`` are the ends of the 95 % interval, of
``over_fastest`` of the 98 % interval, which separates rows. ``id`` is that
of ``results.ids``: the command that runs a number again takes it, and ``records.csv`` leads from it
to the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from reports import break_even, measured, quiet, scaling, speed, statistics, tables
from reports.equivalence import compared, differences, equivalence, stated_margin
from reports.machines import WORKS, Machine
from reports.measured import Timing
from reports.rows import Row, digest, threads, trajectory
from reports.statistics import Estimate
from reports.tost import LEAST, paired
from results import ids
from results.record import Record, decoded

Line = dict[str, Any]
ROW = ("implementation", "variant", "task", "cell", "size", "length", "data", "seed", "dtype", "device")


def records(machine: Machine) -> pd.DataFrame:
    """A line for each number and each record that it rests on."""
    lines = []
    for row in machine.rows:
        for record in row.records:
            origin = record["provenance"]
            common = {
                **_row(row),
                "kind": record["kind"],
                "record": record["id"],
                "status": record["status"],
                "reason": record["reason"],
                "created": record["created"],
                "commit": origin["commit"],
                "uncommitted_changes": origin["dirty"],
                "source": origin["source"],
                "lock": origin["lock"],
                "versions": " ".join(f"{k}={v}" for k, v in sorted(origin["versions"].items())),
                "fingerprint": record["fingerprint"],
            }
            lines += [{"id": known, **common} for known in ids.of_all(record) or [""]]
    return pd.DataFrame(lines)


def parity(machine: Machine) -> pd.DataFrame:
    """A line for each climb: how it ended, and the tensor nearest to its tolerance."""
    lines = []
    for row, record in _climbed(machine):
        levels = record["body"]["levels"]
        worst: Line = max(levels, key=tables.ratio, default={})
        level = trajectory(record) or {}
        lines.append(
            {
                "id": ids.of(record, "parity"),
                **_row(row),
                "status": "void" if row.void else record["status"],
                "reason": record["reason"],
                "error_over_tolerance": tables.ratio(worst) if worst else None,
                "level": worst.get("level"),
                "tensor": worst.get("tensor"),
                "deviation": record["body"].get("deviation", {}).get("id"),
                "steps_inside_envelope": level.get("inside"),
                "steps_trained": level.get("of"),
                "repeats_to_the_bit": level.get("repeat", {}).get("equal"),
                "data_and_weights_sha256": digest(row),
            }
        )
    return pd.DataFrame(lines)


def levels(machine: Machine) -> pd.DataFrame:
    """A line for each level of each climb."""
    return pd.DataFrame(
        {
            "id": ids.of(record, "parity"),
            **_row(row),
            "level": level["level"],
            "name": level["name"],
            "status": level["status"],
            "error": None if level["error"] is None else decoded(level["error"]),
            "tolerance": level["tolerance"],
            "error_over_tolerance": tables.ratio(level),
            "tensor": level["tensor"],
            "where": level["where"],
        }
        for row, record in _climbed(machine)
        for level in record["body"]["levels"]
    )


def throughput(machine: Machine) -> pd.DataFrame:
    """A line for each row and kind of work, the fastest of each comparison first, the untimed last."""
    lines = []
    for what in WORKS:
        for number, (group, timed) in enumerate(machine.timed(what)):
            floor = measured.common_floor(timed)
            common = {
                "work": what,
                "comparison": number,
                "question": group.title,
                "threads": group.threads,
            }
            for item in timed:
                lines.append(
                    {
                        "id": ids.of(item.records[0], what),
                        **common,
                        **_row(item.row),
                        **_timed(item, timed[0], floor, what),
                    }
                )
            shown = {id(item.row) for item in timed}
            lines += [
                {"id": "", **common, **_row(row), "untimed": speed.why_untimed(row, group.threads)}
                for row in group.rows
                if id(row) not in shown
            ]
    return pd.DataFrame(lines)


def _timed(item: Timing, first: Timing, floor: Timing | None, what: str) -> Line:
    tokens = item.records[0]["body"]["tokens_per_decode" if what == "decode" else "tokens_per_step"]
    over = None if item is first else item.over(first)
    return {
        "step_is_a": speed.unit(what, item.row).removeprefix("ms per "),  # step, batch or sequence
        **_estimate("step", "_s", item.step),
        "tokens_per_step": tokens,
        "tokens_per_s": tokens / item.step.value,
        "tokens_per_s_low": tokens / item.step.high,
        "tokens_per_s_high": tokens / item.step.low,
        **_estimate("over_gemm_floor", "", item.over_floor()),
        "floor_of": measured.floor_of(item, what),
        **_estimate("over_numpys_floor", "", item.over_floor_of(floor) if floor else None),
        **_estimate("over_fastest", "", over),
        "separable_from_fastest": None if over is None else not over.holds_one,
        "passes": len(item.seconds),
        "rounds": item.rounds,
        "iqr_over_median": item.spread,
        "path": measured.path(item),
        "proven_at": item.row.proven_at,
    }


def startup(machine: Machine) -> pd.DataFrame:
    """A line a row: seconds before the steady state, the median over passes."""
    lines = []
    for row in machine.alone:
        timed = [record for record in row.bench if record["status"] == "ok"]
        if timed and not row.verdict:
            phases = pd.DataFrame([record["body"]["phases"] for record in timed]).median()
            seconds = {key: phases[key] for key in speed.PHASES if key in phases}
            lines.append(
                {
                    "id": ids.of(timed[0], ids.of_all(timed[0])[0].rpartition("-")[2]),
                    "question": _question(row),
                    **_row(row),
                    **seconds,
                    "passes": len(timed),
                }
            )
    return pd.DataFrame(lines)


def starts(machine: Machine) -> pd.DataFrame:
    """A line a row of a watched campaign: what it starts with and what a step then takes."""
    lines = []
    for number, (group, timed) in enumerate(machine.timed("train")):
        for start in break_even.starts(timed):
            timing = start.timing
            lines.append(
                {
                    "id": ids.of(timing.records[0], "train"),
                    "comparison": number,
                    "question": group.title,
                    "threads": group.threads,
                    **_row(timing.row),
                    **_estimate("start", "_s", start.seconds),
                    **_estimate("step", "_s", timing.step),
                }
            )
    return pd.DataFrame(lines)


def paybacks(machine: Machine) -> pd.DataFrame:
    """A line for each two rows of a question: after how many steps the later has caught up."""
    lines = []
    for number, (group, timed) in enumerate(machine.timed("train")):
        found = break_even.starts(timed)
        for at, late in enumerate(found):
            for early in found[:at]:
                owed = break_even.pays(late, early)
                lines.append(
                    {
                        "id": ids.of(late.timing.records[0], "train"),
                        "against": ids.of(early.timing.records[0], "train"),
                        "comparison": number,
                        "question": group.title,
                        "threads": group.threads,
                        **_row(late.timing.row),
                        "against_implementation": early.timing.row["implementation"],
                        "against_variant": early.timing.row["variant"],
                        "steps": owed.steps,
                        "steps_low": owed.least,
                        "steps_high": owed.most,
                        "verdict": owed.verdict,
                    }
                )
    return pd.DataFrame(lines)


def memory(machine: Machine) -> pd.DataFrame:
    """A line for each run of the memory pass."""
    lines = []
    for row in machine.alone:
        for record in row.memory:
            line: Line = {"id": ids.of(record, "memory"), "question": _question(row), **_row(row)}
            line["threads"] = threads(record)
            if row.verdict or record["status"] != "ok":
                line["unmeasured"] = row.verdict or f"{record['status']}: {record['reason']}"
            else:
                body = record["body"]
                line["peak_over_baseline_bytes"] = body["peak_bytes"] - body["baseline_bytes"]
                line["baseline_bytes"] = body["baseline_bytes"]
                line["device_bytes"] = " ".join(f"{k}={v}" for k, v in sorted(body["device_peak"].items()))
                line["steps"] = body["steps"]
            lines.append(line)
    return pd.DataFrame(lines)


def curves(machine: Machine) -> pd.DataFrame:
    """A line for each point of each scaling curve."""
    lines = []
    for number, family in enumerate(machine.families):
        for line in family.lines.values():
            for value, row in sorted(line.items()):
                timing = scaling.timing(row, family.threads)
                common = {
                    "curve": number,
                    "axis": family.axis,
                    "value": value,
                    "question": family.title,
                    "threads": family.threads,
                }
                lines.append(
                    {
                        "id": ids.of(timing.records[0], "train") if timing else "",
                        **common,
                        **_row(row),
                        **scaling.places(row),
                        **_estimate("step", "_s", timing.step if timing else None),
                        "passes": len(timing.seconds) if timing else None,
                        "peak_bytes": scaling.peak(row, family.threads),
                        "untimed": "" if timing else speed.why_untimed(row, family.threads),
                    }
                )
    return pd.DataFrame(lines)


def quality(machine: Machine) -> pd.DataFrame:
    """A line for each training."""
    return pd.DataFrame(_trained(row, record) for row in machine.rows for record in row.training)


def learning(machine: Machine) -> pd.DataFrame:
    """A line for each point of each learning curve."""
    return pd.DataFrame(
        {
            "id": ids.of(record, "quality"),
            "question": _question(row),
            **_row(row),
            "metric": record["body"]["metric"],
            "optimum": record["body"]["optimum"],
            "baseline": record["body"]["baseline"],
            "step": point["step"],
            "held_out": point["held_out"],
            "loss": point["loss"],
            "seconds": point["seconds"],
        }
        for row in machine.rows
        for record in row.training
        if record["status"] == "ok" and not row.verdict
        for point in record["body"]["curve"]
    )


def equal(machine: Machine) -> pd.DataFrame:
    """A line for each row that was trained beside the reference."""
    lines: list[Line] = []
    for series, reference in compared(machine.rows):
        apart = differences(series, reference)
        line: Line = {
            "id": ids.of(series.record, "quality"),
            "reference": ids.of(reference.record, "quality"),
            "question": _question(series.row),
            **_row(series.row),
            "pairs": len(apart),
            "margin": stated_margin(series.record),
        }
        if len(apart) >= LEAST:
            test = paired(apart)
            line |= {"difference": test.mean, "difference_low_90": test.low, "difference_high_90": test.high}
            line["p"] = test.p(line["margin"]) if line["margin"] else None
        lines.append(line)
    for line, shown in zip(lines, equivalence(machine.rows).to_dict("records"), strict=True):
        line["verdict"] = shown["verdict"]
    return pd.DataFrame(lines).drop(columns="seed", errors="ignore")


def watched(machine: Machine) -> pd.DataFrame:
    """A line for each campaign that looked at the machine."""
    return pd.DataFrame(
        {
            "campaign": state.campaign,
            "quiet": not state.disturbed,
            "disturbed_by": "; ".join(state.disturbed),
            "samples": len(state.records),
            "product_median_s": float(pd.Series(state.products).median()),
            "product_iqr_over_median": statistics.spread(state.products),
            "copy_median_s": float(pd.Series(state.copies).median()),
            "used_by_others_share": state.share("others"),
            "stolen_share": state.share("steal"),
            "throttled_count": state.throttled,
        }
        for state in quiet.states(machine.rows)
    )


def _trained(row: Row, record: Record) -> Line:
    body, line = record["body"], {"id": ids.of(record, "quality"), **_row(row)}
    if row.verdict or record["status"] != "ok":
        return {**line, "untrained": row.verdict or f"{record['status']}: {record['reason']}"}
    return {
        **line,
        "metric": body["metric"],
        "held_out": body["curve"][-1]["held_out"],
        "optimum": body["optimum"],
        "baseline": body["baseline"],
        "steps": body["curve"][-1]["step"],
        "seconds": body["seconds"],
        "proven_at": row.proven_at,
    }


def _climbed(machine: Machine) -> Iterable[tuple[Row, Record]]:
    return ((row, row.parity) for row in machine.rows if row.parity is not None)


def _question(row: Row) -> str:
    """Which question a row answers, whatever its seed, in words."""
    parts = ("task", "cell", "size", "data", "dtype", "device")
    return ", ".join(
        [*(row[name] for name in parts[:3]), f"T = {row['length']}", *(row[name] for name in parts[3:])]
    )


def _row(row: Row) -> Line:
    return {name: row[name] for name in ROW}


def _estimate(name: str, unit: str, found: Estimate | None) -> Line:
    if found is None:
        return dict.fromkeys((f"{name}{unit}", f"{name}_low{unit}", f"{name}_high{unit}"))
    return {f"{name}{unit}": found.value, f"{name}_low{unit}": found.low, f"{name}_high{unit}": found.high}
