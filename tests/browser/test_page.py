"""The page in a real browser: legible, quiet, asking for nothing, sorting and filtering as it says."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser import synthetic
from tests.browser.checks import CONTRAST, TEXTS, Opened
from tests.browser.conftest import Open, rendered, settle

WIDTHS = (1440, 900, 360)
SCHEMES = ("light", "dark")
MOST_BYTES = 5_000_000
FRAMEWORK = "#filters select[name=framework]"


def lines(page: Page, table: str) -> list[list[str]]:
    """The lines of a table that match, of all pages of it, cell by cell."""
    found: list[list[str]] = page.evaluate(
        """(id) => new DataTable("#" + id).rows({search: "applied", order: "applied"}).nodes().toArray()
          .map((row) => [...row.cells].map((cell) => cell.textContent))""",
        table,
    )
    return found


def unfold(opened: Opened) -> None:
    """Every fold, with all charts drawn."""
    opened.page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    settle(opened)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_overflows_fades_or_complains(
    mixed: str, show: Open, width: int, scheme: str
) -> None:
    opened = show(mixed, width, scheme)
    assert opened.faults() == []
    unfold(opened)
    assert opened.faults() == []
    assert opened.page.locator(".chart svg").count() > 3


def test_it_reads_at_the_least_width(mixed: str, show: Open) -> None:
    assert show(mixed, 320).faults() == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_of_charts_are_legible(mixed: str, show: Open, scheme: str) -> None:
    page = show(mixed, 1440, scheme).page
    inks = page.evaluate(
        """() => new Set([...document.querySelectorAll(".chart svg text")]
          .map((text) => getComputedStyle(text).fill)).size"""
    )
    assert inks == 1  # that of the page, whose contrast is tested above
    assert page.evaluate(
        """() => getComputedStyle(document.querySelector(".chart svg text")).fill
          === getComputedStyle(document.body).color"""
    )
    assert page.evaluate(CONTRAST, TEXTS) == []


def test_a_filter_leaves_the_lines_that_match_in_every_table(mixed: str, show: Open) -> None:
    page = show(mixed).page
    before = lines(page, "throughput")
    page.select_option(FRAMEWORK, "jax")
    after = lines(page, "throughput")
    assert after == [line for line in before if line[0] == "jax"]
    assert 0 < len(after) < len(before)
    assert {
        line[0] for name in ("memory-table", "startup", "parity-matrix") for line in lines(page, name)
    } == {"jax"}
    assert len(lines(page, "which")) > 1  # an answer is over all frameworks
    shown = page.locator("#throughput tbody tr:visible").count()
    assert shown == min(len(after), 25)
    page.click("#filters button[type=reset]")
    matching = "(n) => new DataTable('#throughput').rows({search: 'applied'}).count() === n"
    page.wait_for_function(matching, arg=len(before))  # a form is reset a moment after the click
    assert lines(page, "throughput") == before


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("task", "char_lm", 2),
        ("cell", "gru", 3),
        ("variant", "native", 1),
        ("dtype", "float32", 4),
        ("device", "cpu", 5),
    ],
)
def test_every_filter_filters(mixed: str, show: Open, name: str, value: str, column: int) -> None:
    page = show(mixed).page
    before = lines(page, "throughput")
    page.select_option(f"#filters select[name={name}]", value)
    after = lines(page, "throughput")
    assert after == [line for line in before if line[column] == value]
    assert after


def test_a_cell_filter_leaves_its_column_of_the_matrix(mixed: str, show: Open) -> None:
    page = show(mixed).page
    page.select_option("#filters select[name=cell]", "lstm")
    assert page.locator("#parity-matrix thead th[data-cell]:visible").all_inner_texts() == ["lstm"]


def test_a_sort_sorts_by_number_and_says_so(mixed: str, show: Open) -> None:
    page = show(mixed).page
    head = page.locator("#throughput thead th", has_text="tokens/s")
    for direction in ("ascending", "descending"):
        head.click()
        expect(head).to_have_attribute("aria-sort", direction)
        page.select_option(".dt-length select >> nth=1", "100")
        expect(page.locator("#throughput tbody tr")).to_have_count(len(lines(page, "throughput")))
        rates = page.eval_on_selector_all(
            "#throughput tbody tr", "(rows) => rows.map((row) => Number(row.cells[8].dataset.order))"
        )
        assert rates == sorted(rates, reverse=direction == "descending")
        assert len(set(rates)) > 5


def test_the_keyboard_reaches_skip_link_filters_and_sort(mixed: str, show: Open) -> None:
    page = show(mixed).page
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    assert page.evaluate("() => document.activeElement.getBoundingClientRect().left") >= 0
    focused = []
    for _ in range(30):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("() => document.activeElement.name || document.activeElement.tagName"))
        ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none", focused[-1]
    assert {"task", "cell", "framework", "variant", "device", "dtype"} <= set(focused)
    page.locator("#which thead th [role=button]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#which thead th").first).to_have_attribute("aria-sort", "ascending")


def test_a_cell_of_the_matrix_unfolds_to_level_tensor_error_and_tolerance(mixed: str, show: Open) -> None:
    page = show(mixed).page
    page.get_by_role("row", name="torch native adding float32").locator("summary", has_text="failed").click()
    told = page.locator("#parity-matrix .failed .levels tbody tr:visible").all_inner_texts()
    assert told[-1].split("\t") == [
        "3 gradients",
        "✗ failed",
        "head.W_hq",
        "3e-06",
        "1e-14",
        "3e+08",
        "carry zero",
    ]
    page.select_option(".dt-length select >> nth=0", "100")
    for word in ("✓ passed", "≠ deviates", "✗ failed", "∅ void", "○ skipped"):
        assert page.locator("#parity-matrix summary", has_text=word).count() > 0, word
    page.select_option(FRAMEWORK, "jax")
    assert page.locator("#parity-matrix td", has_text="24 of 100 steps").count() == 6


def test_an_id_leads_to_its_line_and_command(mixed: str, show: Open) -> None:
    page = show(mixed).page
    link = page.locator("#which a.id").first
    known = link.inner_text()
    link.click()
    page.wait_for_function("() => document.querySelector('#index').checkVisibility()")
    line = page.locator("#index tr", has=page.locator(f"[id='{known}']"))
    expect(line).to_be_visible()
    assert f"nox -s reproduce -- {known}" in line.inner_text()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_are_text_and_nothing_of_them_runs(evil: str, show: Open, scheme: str) -> None:
    opened = show(evil, 1440, scheme)
    unfold(opened)
    page = opened.page
    assert opened.faults() == []
    for name in (synthetic.EVIL, synthetic.IMG, synthetic.END):
        assert page.locator("#throughput tbody th", has_text=name).count() > 0
        assert page.locator("#filters option", has_text=name).count() > 0
        assert name in page.locator(".chart svg").evaluate_all(
            "(all) => all.map((svg) => svg.textContent).join()"
        )
    assert page.locator("img, svg[onload]").count() == 0
    page.select_option(FRAMEWORK, synthetic.EVIL)
    assert {line[0] for line in lines(page, "throughput")} == {synthetic.EVIL}


def test_a_tooltip_shows_names_as_text(evil: str, show: Open) -> None:
    opened = show(evil)
    page = opened.page
    page.locator("#speed .chart svg .mark-symbol path").first.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "<" in page.locator("#vg-tooltip-element").inner_text()
    assert page.locator("#vg-tooltip-element :is(script, img, svg)").count() == 0
    assert opened.dialogs == []


def test_a_thousand_records_fit(show: Open) -> None:
    records = synthetic.thousand()
    text = rendered(records)
    assert len(records) == 1000
    assert len(text.encode()) < MOST_BYTES
    opened = show(text)
    unfold(opened)
    assert opened.faults() == []
