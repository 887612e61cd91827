"""The page as a whole: what stands where, and that it is the same from the same records."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from reports.report import Report, render, used
from results.record import Record
from results.store import Damaged


@pytest.fixture
def records(make: Any) -> list[Record]:
    """Three implementations, one of which failed, and a second machine."""
    return [
        *make.row(implementation="numpy", variant="scratch", step=6e-3),
        *make.row(implementation="torch"),
        make.parity("failed", implementation="jax"),
        make.bench(implementation="jax"),
        *make.row(passes=1, cpu="Another CPU"),
    ]


def test_parts_come_in_their_order(records: list[Record]) -> None:
    headings = re.findall(r"^##+ (.*)$", render(records), re.MULTILINE)
    titles = [re.split(r"[:(]", heading)[0].strip() for heading in headings]
    machine = ["Parity", "Parity", "Error per level", "Training", "Training", "Inference", "Inference"]
    machine += ["Import, build and first step", "Memory of training", "Not on this page"]
    assert titles == [
        "What is timed, and what is not",
        "Data and initial weights",
        "Machine 1",
        *machine,
        "Machine 2",
        *machine,
        "Left out",
        "Files",
    ]


def test_what_is_timed_stands_before_any_measurement(records: list[Record]) -> None:
    page = render(records)
    assert page.index("**Not timed**") < page.index("ms per step")
    assert page.index("**Not timed**") < page.index("passed (")


def test_machines_are_never_mixed(records: list[Record]) -> None:
    first, second = render(records).split("## Machine 2")
    assert "numpy" in first
    assert "numpy" not in second
    assert "one pass" in second
    assert "one pass" not in first


def test_the_failed_row_is_untimed(records: list[Record]) -> None:
    line = next(line for line in render(records).splitlines() if "untimed: parity failed" in line)
    assert line.split("|")[1].strip() == "jax"
    assert not re.search(r"\d", line.replace("untimed: parity failed", ""))


def test_the_page_follows_from_the_records_alone(records: list[Record]) -> None:
    page = render(records)
    for seed in range(3):
        shuffled = records[:]
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, no secret
        assert render(shuffled) == page


def test_what_was_used_gives_the_same_numbers(records: list[Record], make: Any) -> None:
    everything = [*records, *make.row(passes=2, source="two")]
    page, again = render(everything), render(used(everything))
    cut = "## Left out"
    assert page.split(cut)[0] == again.split(cut)[0]


def test_older_records_are_counted(make: Any) -> None:
    page = render([*make.row(passes=3), *make.row(passes=2, source="two")])
    assert "5 older record(s) of rows above were left out" in page


def test_damage_is_named_without_a_path(records: list[Record]) -> None:
    bad = Damaged(Path("/home/x/records/parity-<1>.json"), "not whole JSON", Path("/home/x/quarantine/y"))
    page = render(records, [bad])
    assert "**1 record(s)** could not be read" in page
    assert "parity-&lt;1&gt;.json" in page
    assert "/home" not in page


def test_equal_data_is_said(records: list[Record]) -> None:
    assert "compared over 3 implementation(s) in 1 case(s) (spec and seed), no difference" in render(records)


def test_void_rows_are_named(make: Any) -> None:
    rows = [make.parity(implementation=name) for name in ("numpy", "jax")]
    page = render([*rows, make.parity(implementation="odd_one", digest="other")])
    part = page.split("## Data and initial weights")[1].split("## Machine")[0]
    assert r"odd\_one" in part
    assert "numpy" not in part
    assert "**void**" in part


def test_nothing_drawn_is_nothing_known(make: Any) -> None:
    record = make.parity("skipped", reason="no framework")
    del record["body"]["digest"]
    page = render([record])
    assert "No row got as far as level 0" in page
    assert "skipped: no framework" in page


def test_timing_without_any_gate_shows_no_number(make: Any) -> None:
    page = render([make.bench()])
    assert "No row was put to the gate on this machine." in page
    assert "untimed: parity missing" in page
    assert "tokens/s" not in page.split("## Machine 1")[1]


def test_names_are_text(make: Any) -> None:
    name = "<script>alert(1)</script>|x"
    rows = make.row(implementation=name, passes=1, task="[a](https://b.example)", cpu="**C** <i>PU</i>")
    page = render([*rows, make.parity("failed", implementation="b|c", tensor="<u>t</u>", cell="gru")])
    for mark in ("<script", "<i>", "<u>", "](https://b", "**C**"):
        assert mark not in page
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|x" in page


def test_a_page_names_its_publication(records: list[Record]) -> None:
    assert render(records, name="2026-11_laptop").startswith("# Unrolled: ")
    assert r"(2026-11\_laptop)" in render(records, name="2026-11_laptop").splitlines()[0]


HOSTILE = "../../<script>alert(1)</script>|\n\"' =x"


def test_hostile_names_reach_no_path_and_no_markup(make: Any) -> None:
    rows = make.row(
        passes=1, implementation=HOSTILE, variant=HOSTILE, task=HOSTILE, cell=HOSTILE, cpu=HOSTILE
    )
    files = Report(rows, name="laptop").files()
    assert all(re.fullmatch(r"(figures/|tables/)?[A-Za-z0-9-]+\.(md|html|svg|csv)", name) for name in files)
    for name, content in files.items():
        text = content.decode()
        assert "alert(1)" in text
        if not name.endswith(".csv"):
            assert "<script>alert" not in text


def test_every_figure_is_shown_once_with_words(everything: list[Record]) -> None:
    files = Report(everything).files()
    shown = re.findall(r"^!\[(.+)\]\((figures/[a-z0-9-]+\.svg)\)$", files["README.md"].decode(), re.MULTILINE)
    assert sorted(path for _, path in shown) == sorted(name for name in files if name.startswith("figures/"))
    assert all(len(words) > 40 for words, _ in shown)


def test_every_link_of_the_page_arrives(everything: list[Record]) -> None:
    files = Report(everything).files()
    links = re.findall(r"\]\(([^)]+)\)", files["README.md"].decode())
    assert {link for link in links if "://" not in link} == files.keys() - {"README.md"}


def test_what_is_missing_is_said_and_why(make: Any, everything: list[Record]) -> None:
    page = render([make.parity()])
    gaps = page.split("### Not on this page")[1]
    for kind in ("The overview", "Training", "Memory of training", "Scaling: time of a training step"):
        assert f"- *{kind}*: no " in gaps
    assert "`nox -s curves`" in gaps
    gaps = render(everything).split("### Not on this page")[1]
    assert "*Training*" not in gaps
    assert "*Diagnostics*: no gradient norms" in gaps


def test_a_table_without_its_figure_says_so(make: Any) -> None:
    page = render([make.bench()])
    assert "untimed: parity missing" in page
    assert "- The figure of *Training*: no row was timed" in page
    assert ".svg" not in page


def test_a_calibration_is_of_no_row(make: Any, records: list[Record]) -> None:
    calibration = {**make.parity(implementation="another"), "kind": "calibration"}
    assert render([*records, calibration]) == render(records)


def test_the_folder_is_the_same_from_the_same_records(everything: list[Record]) -> None:
    assert Report(everything).files() == Report(everything[::-1]).files()
