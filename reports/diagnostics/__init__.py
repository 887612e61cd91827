"""Diagnostics as people read them: is each row the oracle's equal, and what do the curves show?

``tables(records)`` and ``charts(records, machine)`` take the records of one machine, of whatever kind, and
use those of kind "diagnostics" (``suites/diagnostics``), of each row the newest.
"""

from reports.diagnostics.charts import charts
from reports.diagnostics.tables import TEXT, tables

__all__ = ["TEXT", "charts", "tables"]
