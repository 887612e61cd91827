"""The HTML page without a browser: what it says, that names are text, that bytes follow from records."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from reports.html import bundles, others, page
from reports.html.cells import NOTHING, Cell, Column, Line, Table, between, compact, number
from reports.html.theme import themed
from reports.markdown import escape
from reports.rows import select
from results.record import Record
from results.store import Damaged

EVIL = "</script><script>alert(1)</script>"
TAG = re.compile(r"<[^>]*>")


def rendered(records: list[Record], **what: Any) -> str:
    rows, left_out = select(records)
    return page.render(rows, left_out=left_out, **what)


def section(html: str, name: str) -> str:
    """The text of a part of the page, tags taken out."""
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found is not None, name
    return " ".join(TAG.sub(" ", found[0]).split())


@pytest.fixture
def records(make: Any) -> list[Record]:
    return [
        *make.row(implementation="numpy", variant="scratch", step=6e-3),
        *make.row(implementation="torch"),
        # as fast as torch in the mean, but not in each pass
        make.parity(implementation="jax"),
        *(make.bench(n, step, implementation="jax") for n, step in enumerate((1.96e-3, 2.0e-3, 2.05e-3))),
        make.parity("failed", implementation="own"),
        make.bench(implementation="own"),
        make.training(implementation="torch", size="full"),
    ]


def test_the_same_records_in_any_order_give_the_same_bytes(records: list[Record]) -> None:
    first = rendered(records, name="a")
    records.reverse()
    assert rendered(records, name="a") == first


def test_the_first_screen_names_the_fastest_and_who_is_not_separable(records: list[Record]) -> None:
    text = section(rendered(records), "which-one")
    assert re.search(r"adding lstm cpu, float32 small, generated; T = 50, B = 50, H = 64 threads: 2", text)
    assert re.search(
        r"(torch|jax) native \w+-train [\d,]+ tokens/s [\d,]+ to [\d,]+ [\d.]+ x GEMM floor", text
    )
    assert re.search(r"not separable from it: (torch|jax) native", text)
    assert "own" not in text


def test_a_floor_has_numpys_below_where_a_row_of_numpy_was_timed(make: Any) -> None:
    rows = [make.parity(implementation="numpy"), *(make.bench(n, implementation="numpy") for n in range(3))]
    assert "NumPy's: " in html.unescape(rendered([*make.row(), *rows]))
    assert "NumPy's: " not in html.unescape(rendered(make.row()))


def test_a_quiet_machine_and_one_that_was_not_are_told_apart(make: Any) -> None:
    calm = rendered([*make.row(), make.quiet(), make.quiet()])
    loud = rendered([*make.row(), make.quiet(), make.quiet(others=0.4)])
    assert "✓ quiet while timed" in calm
    assert "✗ not quiet while timed: others used" in loud
    assert "not publishable" in loud
    assert "✗ not quiet" in section(loud, "which-one")
    assert "? not watched while timed" in rendered(make.row())


def test_what_is_missing_is_said(records: list[Record], make: Any) -> None:
    damaged = [Damaged(Path("/secret/bench-1.json"), "schema: 1 was expected, got 0", Path("/secret/q"))]
    older = make.row(implementation="torch", version="0.9")
    html = rendered([*older, *records], damaged=damaged)
    text = section(html, "missing")
    assert re.search(r"\d+ older record\(s\) of these rows were left out", text)
    assert "bench-1.json schema: 1 was expected, got 0" in text
    assert "own native adding lstm float32 cpu train untimed: parity failed" in text
    assert "untrained" in section(html, "quality") or "parity missing" in text
    assert "/secret" not in html
    assert "No curve was measured." in section(html, "scaling")
    assert "whether the machine was quiet is unknown" in section(html, "machine")


def test_a_report_of_parity_alone_has_a_page(make: Any) -> None:
    html = rendered([make.parity()])
    assert "No row was timed." in section(html, "which-one")
    assert "nothing was timed" in html
    assert "window.vegaEmbed=" not in html  # no chart, no bundle


def test_no_records_give_a_page(make: Any) -> None:
    assert "No row was put to the gate." in section(rendered([]), "parity")


def test_names_are_text(make: Any) -> None:
    what = {"implementation": EVIL, "variant": EVIL, "task": EVIL, "data": EVIL}
    records = [
        *make.row(**what),
        make.training(**what, size="full"),
        make.parity("failed", reason=EVIL, **what, seed=2),
    ]
    html = rendered(records, name=EVIL, damaged=[Damaged(Path(EVIL), EVIL, Path("x"))])
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\\u003c/script\\u003e" in html


def test_every_id_has_a_command_and_its_records(records: list[Record]) -> None:
    html = rendered(records, name="a-report")
    linked = set(re.findall(r'href="#(\w+-\w+)"><code>', html))
    assert linked == set(re.findall(r'<code id="(\w+-\w+)">', html)) & linked
    assert len(linked) > 10
    assert all(f"nox -s reproduce -- {known}" in html for known in linked)
    files = set(re.findall(r'href="\.\./\.\./\.\./results/published/a-report/(\w+-\w+\.json)"', html))
    kinds = ("parity", "bench", "memory", "training")
    assert files == {f"{r['kind']}-{r['id']}.json" for r in records if r["kind"] in kinds}
    assert "results/published" not in rendered(records)


def test_the_policy_allows_these_scripts_alone(records: list[Record]) -> None:
    html = rendered(records)
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        assert bundles.digest(script).strip("'") in html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "unsafe-eval" not in policy[1]
    assert not re.search(r"script-src[^;]*unsafe", policy[1])


def test_nothing_is_fetched(records: list[Record]) -> None:
    html = TAG.sub(
        lambda tag: tag[0],
        re.sub(r"<script.*?</script>|<style.*?</style>", "", rendered(records), flags=re.DOTALL),
    )
    assert re.findall(r'\b(?:src|srcset|action|formaction|poster)="', html) == []
    assert re.findall(r'<link[^>]*href="(?!data:,)', html) == []


def test_a_bundle_that_exports_no_datatables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "dt_bundle.js"
    bundle.write_text("var a=1;export{a as ITable};")
    monkeypatch.setattr("itables.options.dt_bundle", bundle)
    with pytest.raises(RuntimeError, match=r"exports \['ITable'\]: expected DataTables"):
        bundles.tables.__wrapped__()


def test_no_bundle_ends_its_element() -> None:
    script, styles = bundles.tables()
    for text in (script, bundles.vega()):
        assert not re.search(r"</?script|<!--", text, re.IGNORECASE)
    assert "</" not in styles


@pytest.mark.parametrize("text", [EVIL, "a & b", "<!-- x", "</STYLE>"])
def test_an_island_holds_any_text(text: str) -> None:
    held = bundles.island({"x": text})
    assert "<" not in held
    assert ">" not in held
    assert json.loads(held) == {"x": text}


@pytest.mark.parametrize(
    "text", ["a|b", "*x* _y_", "<b>&amp;", "https://x.y", "me@x", "www.x", "1 \\ 2", "`~$#^[]{}"]
)
def test_what_was_escaped_for_markdown_is_plain_again(text: str) -> None:
    assert escape(text) != text
    assert others.plain(escape(text)) == text


def test_numbers_have_the_digits_of_their_interval_and_sort_by_value() -> None:
    line = {
        "a_s": 1.2345e-3,
        "a_low_s": 1.2e-3,
        "a_high_s": 1.3e-3,
        "b": float("nan"),
        "b_low": 1,
        "b_high": 2,
    }
    assert between(line, "a{}_s", 1e3) == Cell("1.23", 1.2345, "number", ("1.20 to 1.30",))
    assert between(line, "b{}").text == NOTHING
    assert between(line, "c{}").text == NOTHING
    assert number(0.0) == Cell("0", 0.0, "number")


def test_columns_that_say_nothing_are_left_out() -> None:
    table = Table(
        "t",
        "c",
        (Column("a"), Column("b"), Column("machine")),
        (Line((Cell("1"), Cell(NOTHING), Cell("1"))),),
    )
    assert [column.title for column in compact(table, 1).columns] == ["a"]
    assert [column.title for column in compact(table, 2).columns] == ["a", "machine"]
    assert [cell.text for cell in compact(table, 2).lines[0].cells] == ["1", "1"]


def test_a_chart_takes_the_ink_of_the_page() -> None:
    found = themed(
        {"mark": "bar", "config": {"axis": {"labelFontSize": 9, "labelColor": "red"}, "padding": 3}}
    )
    assert found["config"]["axis"]["labelColor"] == "currentColor"
    assert found["config"]["axis"]["labelFontSize"] == 9
    assert found["config"]["padding"] == 3


def test_a_chart_carries_no_column_that_it_does_not_draw() -> None:
    spec = {
        "encoding": {"x": {"field": "ms"}, "tooltip": [{"field": "id"}]},
        "transform": [{"filter": "datum.at > 0"}],
    }
    line = {"ms": 1.0, "id": "a", "at": 1, "provenance": "long"}
    found = themed({**spec, "datasets": {"d": [line]}})
    assert found["datasets"] == {"d": [{"ms": 1.0, "id": "a", "at": 1}]}
