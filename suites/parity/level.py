"""What one level of the ladder found, as a record keeps it and as a reader is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from results.record import number
from suites.parity.comparator import Finding
from suites.parity.trajectory import Trajectory

LEVELS = (
    "data and weights",
    "forward",
    "loss",
    "gradients",
    "optimiser",
    "trajectory",
    "quality",  # over seeds: not of one row, and so not on the ladder that a row climbs
    "decode",
)


@dataclass(frozen=True)
class Level:
    """What one level found."""

    level: int
    status: str  # "passed", "failed", "horizon reached"
    findings: tuple[Finding, ...]
    detail: str = ""
    trajectory: Trajectory | None = None  # of level 5

    @property
    def name(self) -> str:
        """What the level is about."""
        return LEVELS[self.level]

    @property
    def told(self) -> Finding | None:
        """The finding worth telling: the first that failed, else the one nearest its tolerance."""
        failed = [finding for finding in self.findings if finding.failed]
        if failed:
            return failed[0]
        return max(self.findings, key=lambda finding: finding.ratio, default=None)

    def record(self) -> dict[str, Any]:
        """The level as a parity record keeps it."""
        told = self.told
        seen = {} if told is None else asdict(told)
        kept = {
            "level": self.level,
            "name": self.name,
            "status": self.status,
            "error": number(seen["error"]) if seen else None,
            "tolerance": number(seen["tolerance"]) if seen else None,
            "tensor": seen.get("tensor", ""),
            "where": seen.get("where", ""),
            "origin": seen.get("origin", ""),
            "detail": "; ".join(text for text in (self.detail, failure_text(self)) if text),
        }
        return kept | (self.trajectory.record() if self.trajectory else {})


def level_of(number: int, findings: list[Finding], detail: str = "") -> Level:
    """A level by what was found: one failure fails it."""
    status = "failed" if any(finding.failed for finding in findings) else "passed"
    return Level(number, status, tuple(findings), detail)


def failure_text(level: Level) -> str:
    """Everything a reader needs of a failed level, or nothing."""
    told = level.told
    if level.status != "failed" or told is None:
        return ""
    others = sorted({f.tensor for f in level.findings if f.failed and f.tensor != told.tensor})
    lines = [
        f"level {level.level} ({level.name}): {told.tensor}: {told.problem}",
        f"  where      {told.where}{', ' + told.at if told.at else ''}",
        f"  expected   {told.expected}",
        f"  got        {told.got}",
        f"  error      {told.error:.3e}",
        f"  tolerance  {told.tolerance:.3e} ({told.origin})",
    ]
    if others:
        lines.append(f"  and also   {', '.join(others)}")
    return "\n".join(lines)
