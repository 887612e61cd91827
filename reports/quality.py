"""Training to quality: what each row reached, and how far apart the curves of one training are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.markdown import NOTHING, brief, escape
from reports.rows import Row
from reports.tables import WHO, asked, who
from results.record import Record

# of two held-out values the better; of a metric that is not known here neither
BETTER = {"squared error": "lower", "nats": "lower", "accuracy": "higher", "exact match": "higher"}


def trained(rows: Sequence[Row]) -> pd.DataFrame:
    """A line a training: the final metrics beside the optimum and the baseline, or why there are none."""
    return pd.DataFrame(
        [
            {**asked(row), "seed": escape(row["seed"]), **who(row), **_cells(row, record)}
            for row in rows
            for record in row.training
        ]
    )


def curves(rows: Sequence[Row]) -> pd.DataFrame:
    """A line for each spec, dtype and seed that several rows were trained on: how far apart they are."""
    same: dict[tuple[str, ...], list[tuple[Row, Record]]] = defaultdict(list)
    for row in rows:
        for record in row.training:
            if record["status"] == "ok" and not row.verdict:
                key = (record["fingerprint"], row["dtype"], row["seed"])
                same[key].append((row, record))
    lines = []
    for members in same.values():
        if len(members) > 1:
            row, record = members[0]
            points = _points([found for _, found in members])
            lines.append(
                {
                    **asked(row),
                    "seed": escape(row["seed"]),
                    "rows": escape(
                        "; ".join(" ".join(member[name] for name in WHO) for member, _ in members)
                    ),
                    "points": str(points["held_out"].index.size),
                    "metric": metric(record["body"]),
                    "held out": _apart(points["held_out"]),
                    "training loss": _apart(points["loss"]),
                }
            )
    return pd.DataFrame(lines)


def _cells(row: Row, record: Record) -> dict[str, str]:
    body = record["body"]
    if row.verdict:
        return {"metric": NOTHING, "held out": f"untrained: {row.verdict}"}
    if record["status"] != "ok":
        return {"metric": NOTHING, "held out": f"{record['status']}: {brief(record['reason'])}"}
    return {
        "metric": metric(body),
        "held out": escape(", ".join(f"{name} {value:.4g}" for name, value in _ordered(body))),
        "optimum": "unknown" if body["optimum"] is None else f"{body['optimum']:.4g}",
        "short of it": _short(body),
        "baseline": f"{body['baseline']:.4g}",
        "steps": str(body["curve"][-1]["step"]),
        "seconds": f"{body['seconds']:.3g}",
        "proven at": escape(row.proven_at) or NOTHING,
    }


def metric(body: dict[str, Any]) -> str:
    """The unit of the task, and which way is better."""
    better = BETTER.get(body["metric"])
    return escape(body["metric"]) + (f", {better} is better" if better else "")


def _short(body: dict[str, Any]) -> str:
    """By how much of the optimum the last value is worse: negative where chance has it better."""
    best, better = body["optimum"], BETTER.get(body["metric"])
    if not best or better is None:
        return NOTHING
    reached = body["curve"][-1]["held_out"]
    worse = reached - best if better == "lower" else best - reached
    return f"{100 * worse / best:.2g} %"


def _ordered(body: dict[str, Any]) -> list[tuple[str, float]]:
    """The final metrics, that of optimum and baseline first."""
    return sorted(body["final"].items(), key=lambda item: (item[0] != body["metric"], item[0]))


def _points(records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """Per quantity, a column a record, a line for each step at which all have it."""
    frames = [pd.DataFrame(record["body"]["curve"]).set_index("step") for record in records]
    return {
        name: pd.concat([frame[name].astype(float) for frame in frames], axis=1).dropna()
        for name in ("held_out", "loss")
    }


def _apart(points: pd.DataFrame) -> str:
    """The largest difference between two columns on one line, its share of the line's mean, and where."""
    if points.empty:
        return NOTHING
    apart = points.max(axis=1) - points.min(axis=1)
    place = int(apart.argmax())
    step, largest, mean = apart.index[place], float(apart.iloc[place]), float(points.iloc[place].mean())
    share = f" ({100 * largest / abs(mean):.2g} %)" if mean and math.isfinite(mean) else ""
    return "none" if largest == 0 else f"{largest:.2g}{share} at step {step}"
