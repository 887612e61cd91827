"""Figures: drawn from the tables' numbers, the same bytes every time, and names are only text."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest

from reports import figures, frames
from reports.figures.figure import COLOURS, MOST_PANELS, axis, colour, distinct, slug
from reports.machines import machines
from reports.rows import select
from reports.sections import SECTIONS
from results.record import Record

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "../../<script>alert(1)</script>|\n\"' & =x"
KINDS = {
    *("overview", "train", "infer", "decode", "start", "break-even", "memory"),
    *("scaling-time", "scaling-memory", "quality"),
}


def drawn(records: list[Record]) -> dict[str, figures.Figure]:
    return figures.charts(select(records)[0])


def values(spec: Any, field: str) -> Iterator[Any]:
    """Every value of a field in the data of a chart."""
    for rows in spec["datasets"].values():
        yield from (row[field] for row in rows if field in row)


@pytest.fixture(scope="module")
def charts(everything: list[Record]) -> dict[str, figures.Figure]:
    return drawn(everything)


@pytest.fixture(scope="module")
def files(charts: dict[str, figures.Figure]) -> dict[str, bytes]:
    return {name: figures.svg(figure) for name, figure in charts.items()}


def test_every_kind_is_drawn(charts: dict[str, figures.Figure]) -> None:
    assert {figure.kind for figure in charts.values()} == KINDS
    assert {section.kind for section in SECTIONS if section.drawn} - KINDS == {"diagnostics"}


def test_charts_keep_to_the_schema(charts: dict[str, figures.Figure]) -> None:
    for figure in charts.values():
        figure.chart.to_dict(validate=True)


def test_the_same_records_give_the_same_bytes(everything: list[Record], files: dict[str, bytes]) -> None:
    shuffled = everything[:]
    random.Random(1).shuffle(shuffled)  # noqa: S311 - an order, no secret
    again = drawn(shuffled)
    assert list(again) == list(files)
    for name, figure in again.items():
        assert figures.svg(figure) == files[name]


def test_each_file_is_an_image_with_words(charts: dict[str, figures.Figure], files: dict[str, bytes]) -> None:
    for name, content in files.items():
        image = ET.fromstring(content)  # noqa: S314 - our own file
        assert image.tag == f"{SVG}svg"
        assert image.get("role") == "img"
        assert image.get("aria-label") == charts[name].alt
        assert image[0].tag == f"{SVG}title"
        assert image[0].text == charts[name].title
        assert re.search(r"\d", charts[name].alt)


def test_files_stand_on_a_light_card_and_fetch_nothing(files: dict[str, bytes]) -> None:
    for content in files.values():
        text = content.decode()
        card = next(ET.fromstring(content).iter(f"{SVG}rect"))  # noqa: S314 - our own file
        assert card.get("fill") == "#ffffff"
        addresses = set(re.findall(r"https?://[^\"' ]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert "<image" not in text
        assert "<script" not in text


def test_points_are_the_numbers_of_the_table(everything: list[Record], charts: Any) -> None:
    (machine,) = machines(select(everything)[0])
    table = frames.throughput(machine)
    steps = table[(table["work"] == "train") & (table["task"] == "adding")]["step_s"].dropna()
    shown = sorted(set(values(charts["machine-1-train-adding"].spec, "ms")))
    assert shown == pytest.approx(sorted(1e3 * steps), rel=1e-5)


def test_rows_without_proof_are_not_drawn(make: Any) -> None:
    failed = [make.parity("failed", implementation="jax"), make.bench(implementation="jax")]
    found = drawn([*make.row(passes=2), *failed, make.memory(implementation="jax")])
    assert found
    for figure in found.values():
        assert set(values(figure.spec, "implementation")) == {"torch"}


def test_nothing_measured_draws_nothing(make: Any) -> None:
    assert drawn([make.parity()]) == {}
    assert drawn([]) == {}


def test_a_row_without_a_floor_is_drawn_without_its_ratio(make: Any) -> None:
    bare = make.bench(implementation="jax")
    bare["body"]["blocks"] = [b for b in bare["body"]["blocks"] if not b["what"].startswith("floor")]
    found = drawn([make.parity(implementation="jax"), bare])
    assert {figure.kind for figure in found.values()} == {"train", "infer", "start"}
    for figure in found.values():
        ET.fromstring(figures.svg(figure))  # noqa: S314 - our own file


def test_names_are_text(make: Any) -> None:
    rows = make.row(passes=2, implementation=HOSTILE, task=HOSTILE, cell=HOSTILE, variant=HOSTILE)
    found = drawn(rows)
    assert {figure.kind for figure in found.values()} == {"overview", "train", "infer", "start", "memory"}
    for name, figure in found.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        image = ET.fromstring(figures.svg(figure))  # noqa: S314 - our own file
        assert {part.tag.removeprefix(SVG) for part in image.iter()} <= {
            "svg",
            "title",
            "rect",
            "g",
            "path",
            "line",
            "text",
        }
        texts = [part.text or "" for part in image.iter(f"{SVG}text")]
        assert any("<script>" in text for text in texts)


def test_names_that_become_one_slug_stay_apart(make: Any) -> None:
    found = drawn(
        [*make.row(passes=1, task="a/b"), *make.row(passes=1, task="a b"), *make.row(passes=1, task="Ü")]
    )
    names = [name for name, figure in found.items() if figure.kind == "train"]
    assert names == ["machine-1-train-a-b", "machine-1-train-a-b-2", "machine-1-train-x"]
    titles = [figure.title for figure in found.values() if figure.kind == "train"]
    assert titles == ["Training: a b", "Training: a/b", "Training: Ü"]


def test_slugs() -> None:
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("Ü" * 99) == "x"
    assert len(slug("a" * 99)) == 40
    assert distinct(["b", "a/", "a"]) == {"a": "a", "a/": "a-2", "b": "b"}


def test_many_questions_are_several_figures(make: Any) -> None:
    cells = [f"cell {number}" for number in range(MOST_PANELS + 1)]
    records = [r for cell in cells for r in (make.parity(cell=cell), make.bench(cell=cell))]
    found = [figure for figure in drawn(records).values() if figure.kind == "train"]
    assert [figure.name for figure in found] == ["machine-1-train-adding-1", "machine-1-train-adding-2"]
    assert [figure.title for figure in found] == ["Training: adding (1 of 2)", "Training: adding (2 of 2)"]


def test_machines_have_figures_of_their_own(make: Any) -> None:
    found = drawn([*make.row(passes=1), *make.row(passes=1, cpu="Another CPU")])
    assert {figure.machine for figure in found.values()} == {1, 2}
    assert {name.split("-")[1] for name in found} == {"1", "2"}


def test_a_framework_keeps_its_colour() -> None:
    for names in (["torch"], ["torch", "jax", "theirs"]):
        scale = colour(names)
        assert dict(zip(scale["domain"], scale["range"], strict=True))["torch"] == COLOURS["torch"]
    assert len(set(colour([*COLOURS, "x", "y", "z"])["range"])) == 7


def test_wide_spans_are_logarithmic() -> None:
    assert axis([1, 10])["type"] == "log"
    assert "type" not in axis([1, 9.9])
    assert "type" not in axis([0, 100])
    assert "type" not in axis([])


def test_panels_of_a_figure_share_their_scales(make: Any) -> None:
    """Else the colours of one panel would be those of another."""
    records = [*make.row(passes=1), *make.row(passes=1, implementation="jax", cell="gru")]
    found = drawn(records)

    def scales(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if node.get("field") == "implementation":
                yield repr(node["scale"])
            for part in node.values():
                yield from scales(part)
        elif isinstance(node, list):
            for part in node:
                yield from scales(part)

    for figure in found.values():
        assert len(set(scales({**figure.spec, "datasets": {}}))) == 1


def test_nominal_fields_have_no_opacity(charts: dict[str, figures.Figure]) -> None:
    """Vega-Lite warns of it in the console of whoever opens the page."""
    for figure in charts.values():
        for channel, field in re.findall(r"'(opacity|fillOpacity)': (\{[^{}]*\})", repr(figure.spec)):
            assert "'ordinal'" in field, (figure.name, channel)
