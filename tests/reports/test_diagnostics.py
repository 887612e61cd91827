"""Tables and figures of the diagnostics: what is equal, what is not, what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from reports import diagnostics
from reports.diagnostics.curves import CURVES, judged
from reports.figures import svg
from reports.html import page
from reports.rows import select
from results.record import Record
from tests.reports.conftest import Maker, sha

K = 12
RULE = "30 u kappa"
Answer = dict[str, list[Any]]


def curves(diagnostic: str, name: str = "scale 1") -> Answer:
    """Plausible ones."""
    if diagnostic == "distance":
        return {"gradient norm": [float(name.split()[1].rstrip(",")) ** k * 0.5 for k in range(1, K + 1)]}
    if diagnostic == "clipping":
        before = [3.0 / k for k in range(1, K + 1)]
        return {"before": before, "after": [min(1.0, value) for value in before]}
    angle = [k * 2.4 for k in range(1, K + 1)]
    return {
        "PC 1": [2 * math.cos(a) for a in angle],
        "PC 2": [math.sin(a) for a in angle],
        "explained": [0.6, 0.3],
    }


class Diagnosed:
    """Makes records of kind "diagnostics"."""

    def __init__(self) -> None:
        self.make = Maker()

    def case(self, diagnostic: str, name: str, off: float, tolerance: float | None) -> dict[str, Any]:
        whole = diagnostic == "states"
        return {
            "case": name,
            "at": list(range(1, K + 1)),
            "at_name": {"distance": "distance", "clipping": "step", "states": "position"}[diagnostic],
            "labels": {"label": [k % 2 for k in range(K)], "sentence": [k // 3 for k in range(K)]}
            if whole
            else {},
            "digest": sha((diagnostic, name)),
            "rule": RULE,
            "curves": [
                {
                    "curve": curve,
                    "values": [*values[:-1], values[-1] * (1 + off)],
                    "reference": values,
                    "tolerance": [tolerance] * (1 if whole else len(values)),
                }
                for curve, values in curves(diagnostic, name).items()
            ],
        }

    def __call__(
        self,
        diagnostic: str = "distance",
        off: float = 1e-15,
        tolerance: float | None = 1e-13,
        gate: str = "passed",
        names: tuple[str, ...] = (),
        change: Callable[[dict[str, Any]], None] = lambda body: None,
        **what: Any,
    ) -> Record:
        asked = (
            names
            or {
                "distance": ("scale 0.5", "scale 1.5"),
                "clipping": ("threshold 1",),
                "states": ("trained",),
            }[diagnostic]
        )
        body: dict[str, Any] = {
            "diagnostic": diagnostic,
            "gate": {"status": gate, "reason": ""},
            "settings": {"threads": "2"},
            "path": {},
            "cases": [self.case(diagnostic, name, off, tolerance) for name in asked],
        }
        change(body)
        what = {"size": diagnostic, "cell": "rnn"} | what
        return self.make.record("diagnostics", "ok", "", body, **what)


@pytest.fixture
def diagnosed() -> Diagnosed:
    return Diagnosed()


@pytest.fixture
def every(diagnosed: Diagnosed) -> list[Record]:
    return [
        diagnosed(diagnostic, implementation=implementation, dtype=dtype)
        for diagnostic in CURVES
        for implementation in ("numpy", "torch")
        for dtype in ("float32", "float64")
    ]


def matrix(records: list[Record]) -> dict[str, str]:
    """The one line of the table of equality."""
    (line,) = diagnostics.tables(records)["Equal to the oracle"].to_dict("records")
    return {str(name): str(value) for name, value in line.items()}


def test_the_tables_say_what_the_curves_show(every: list[Record]) -> None:
    tables = diagnostics.tables(every)
    equal = tables["Equal to the oracle"]
    assert len(equal) == 4
    assert all(re.fullmatch(r"\d\.\de-1\d \(0\.0\d+\)", cell) for cell in equal["distance, rnn"])
    assert set(equal["gate"]) == {"passed"}
    assert set(equal["tolerance"]) == {RULE}
    norms = tables["Gradient norm against distance"]
    assert list(norms["factor a step"]) == ["0.500", "1.500"]
    assert list(norms["at 20"]) == ["-", "-"]
    clipping = tables["Gradient norm before and after clipping"].iloc[0]
    assert (clipping["steps"], clipping["clipped at"], clipping["largest after"]) == ("12", "2", "1")
    states = tables["Hidden states on two principal components"].iloc[0]
    assert (states["states"], states["sentences"], states["PC 1 explains"]) == ("12", "4", "60.0 %")
    assert "What differs or is missing" not in tables


def test_the_page_shows_them_and_misses_no_gate(every: list[Record], make: Maker) -> None:
    html = page.render(select(every)[0])
    part = html.partition('id="diagnostics"')[2].partition("</section>")[0]
    assert part.count("<figure") == len(diagnostics.charts(every)) > 0
    assert "parity missing" not in html
    alone = page.render(select([make.bench(implementation="own")])[0])
    assert "nox -s diagnose" in alone
    assert "parity missing" in alone


@pytest.mark.parametrize("diagnostic", CURVES)
def test_a_planted_difference_is_not_equal(diagnosed: Diagnosed, diagnostic: str) -> None:
    good, bad = diagnosed(diagnostic), diagnosed(diagnostic, off=1e-3)
    assert matrix([good])[f"{diagnostic}, rnn"].endswith(")")
    assert "**differs**" not in matrix([good])[f"{diagnostic}, rnn"]
    assert matrix([bad])[f"{diagnostic}, rnn"].startswith("**differs**: ")
    (line,) = diagnostics.tables([bad])["What differs or is missing"].to_dict("records")
    assert "times its tolerance 1.0e-13 (30 u kappa)" in line["what"]
    (figure,) = diagnostics.charts([bad]).values()
    assert "0 of 1 rows are the oracle's equals" in figure.caption


def test_the_record_is_not_believed_but_judged_anew(diagnosed: Diagnosed) -> None:
    """A small value far out is as far from its own reference as a large one."""

    def vanish(body: dict[str, Any]) -> None:
        body["cases"][0]["curves"][0]["values"][-1] *= 1 + 1e-6  # of 1e-4, beside 0.25

    (row,) = judged([diagnosed(change=vanish, off=0.0)])
    assert row.status == "differs"
    assert row.difference == pytest.approx(1e-6)
    assert row.worst is not None
    assert row.worst.where == f"scale 0.5, gradient norm at distance {K}"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_differs_and_is_not_drawn(diagnosed: Diagnosed, value: str) -> None:
    def spoil(body: dict[str, Any]) -> None:
        body["cases"][0]["curves"][0]["values"][3] = value

    for diagnostic in CURVES:
        spoilt = diagnosed(diagnostic, change=spoil)
        assert matrix([spoilt])[f"{diagnostic}, rnn"].startswith(f"**differs**: {value}")
        (figure,) = diagnostics.charts([spoilt]).values()
        assert svg(figure).startswith(b"<svg")


def test_states_none_of_which_is_a_number_give_no_figure(diagnosed: Diagnosed) -> None:
    def spoil(body: dict[str, Any]) -> None:
        body["cases"][0]["curves"][0]["values"] = ["nan"] * K

    assert diagnostics.charts([diagnosed("states", change=spoil)]) == {}


def test_points_that_cannot_be_judged_are_counted(diagnosed: Diagnosed) -> None:
    def blind(body: dict[str, Any]) -> None:
        body["cases"][0]["curves"][0]["tolerance"][-3:] = [None] * 3

    assert matrix([diagnosed(change=blind)])["distance, rnn"].endswith(", 21 of 24 points judged")
    assert matrix([diagnosed(tolerance=None)])["distance, rnn"] == "not judged"


def test_another_question_is_void(diagnosed: Diagnosed) -> None:
    def other(body: dict[str, Any]) -> None:
        body["cases"][0]["digest"] = sha("other weights")

    same = [diagnosed(implementation=name) for name in ("numpy", "torch")]
    odd = diagnosed(implementation="jax", change=other)
    status = {row["implementation"]: row.status for row in judged([*same, odd])}
    assert status == {"jax": "void", "numpy": "equal", "torch": "equal"}
    assert {row.status for row in judged([same[0], odd])} == {"void"}  # no majority
    assert "void: its weights" in diagnostics.tables([*same, odd])["What differs or is missing"]["what"][0]


@pytest.mark.parametrize("part", ["values", "reference", "tolerance"])
def test_curves_that_are_not_whole_are_void_and_no_traceback(diagnosed: Diagnosed, part: str) -> None:
    def cut(body: dict[str, Any]) -> None:
        body["cases"][0]["curves"][0][part].pop()

    (row,) = judged([diagnosed(change=cut)])
    assert row.status == "void"
    assert diagnostics.charts([diagnosed(change=cut)]) == {}


def test_a_missing_curve_is_void(diagnosed: Diagnosed) -> None:
    (row,) = judged([diagnosed("clipping", change=lambda body: body["cases"][0]["curves"].pop())])
    assert row.status == "void"


def test_a_row_without_curves_says_why(diagnosed: Diagnosed) -> None:
    body = {"diagnostic": "states", "gate": {"status": "not run", "reason": "x"}, "settings": {}}
    failed = diagnosed.make.record("diagnostics", "error", "RuntimeError: out of luck", body, cell="lstm")
    assert matrix([failed])["states, lstm"] == "error"
    assert "out of luck" in diagnostics.tables([failed])["What differs or is missing"]["what"][0]
    assert diagnostics.charts([failed]) == {}


def test_the_gate_is_told_from_the_record_or_from_a_later_climb(diagnosed: Diagnosed) -> None:
    row = diagnosed(gate="not run")
    assert matrix([row])["gate"] == "not run"
    assert matrix([row, diagnosed.make.parity(cell="rnn", size="tiny")])["gate"] == "passed"
    assert matrix([row, diagnosed.make.parity("failed", cell="rnn", size="tiny")])["gate"] == "failed"
    assert matrix([row, diagnosed.make.parity(cell="rnn", size="tiny", source="two")])["gate"] == "not run"


def test_the_newest_of_a_row_counts(diagnosed: Diagnosed) -> None:
    old, new = diagnosed(off=1e-3), diagnosed()
    assert "**differs**" not in matrix([new, old])["distance, rnn"]


def test_the_figures_are_the_same_bytes_in_any_order_of_the_records(every: list[Record]) -> None:
    first, second = (diagnostics.charts(records, 2) for records in (every, every[::-1]))
    names = ["distance", "clipping", "states-rnn"]
    assert list(first) == list(second) == [f"machine-2-diagnostics-{name}" for name in names]
    for name, figure in first.items():
        assert svg(figure) == svg(second[name])
        assert (figure.name, figure.kind, figure.machine) == (name, "diagnostics", 2)
        assert "float32: 2 of 2 rows are the oracle's equals" in figure.caption


def test_a_figure_is_told_in_words(every: list[Record]) -> None:
    figures = diagnostics.charts(every)
    told = figures["machine-1-diagnostics-distance"].alt
    assert "rnn, recurrent weights x 0.5: from 2.5e-01 at distance 1 to 1.2e-04 at 12" in told
    assert "clipped at 2 of 12 steps" in figures["machine-1-diagnostics-clipping"].alt
    assert "numpy native, float32" in figures["machine-1-diagnostics-states-rnn"].alt


def test_a_cell_with_two_cases_has_two_panels(diagnosed: Diagnosed) -> None:
    names = ("scale 0.5", "scale 1.5", "scale 0.5, forget bias 3")
    (figure,) = diagnostics.charts([diagnosed(cell="lstm", names=names)]).values()
    assert [panel["title"] for panel in figure.spec["concat"]] == ["lstm", "lstm, forget bias 3"]


def test_several_seeds_are_figures_of_their_own(diagnosed: Diagnosed) -> None:
    figures = diagnostics.charts([diagnosed(), diagnosed(seed=3)])
    assert list(figures) == ["machine-1-diagnostics-distance", "machine-1-diagnostics-distance-seed-3"]


def test_names_are_data(diagnosed: Diagnosed) -> None:
    evil = "<script>alert(1)</script>|x"
    records = [diagnosed(name, implementation=evil, variant=evil, cell=evil) for name in CURVES]
    for frame in diagnostics.tables(records).values():
        assert "<script" not in frame.to_csv()
        assert "|x" not in frame.to_csv().replace("\\|x", "")
    for name, figure in diagnostics.charts(records).items():
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert b"<script" not in svg(figure)


def test_without_records_there_is_nothing(diagnosed: Diagnosed) -> None:
    assert diagnostics.tables([]) == {}
    assert diagnostics.charts([diagnosed.make.parity()]) == {}
