"""The parallel edition: cut from the sources, made of committed data alone; what is missing is said."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.edition import extract, render
from reports.edition.contents import CONTENTS, FRAMEWORKS
from reports.rows import Row, select
from results.errors import UserError
from results.record import Record

ROOT = Path(__file__).parents[2]
ENTRIES = [entry for section in CONTENTS for entry in section.entries]
SCRIPT = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.links += [named["href"] or ""] if tag == "a" else []
        self.ids += [named["id"] or ""] if "id" in named else []

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def cut() -> dict[str, Any]:
    return extract(ROOT)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources, to be changed."""
    shutil.copytree(ROOT / "impls", tmp_path / "impls", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def change(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def rows(*records: Record) -> list[Row]:
    return select(records)[0]


def article(html: str, anchor: str) -> str:
    """The text of one entry."""
    return Page(html.partition(f'<article aria-labelledby="{anchor}">')[2].partition("</article>")[0]).text


def card(html: str, anchor: str, framework: str) -> str:
    """The text of one entry in one framework."""
    inside = html.partition(f'<article aria-labelledby="{anchor}">')[2].partition("</article>")[0]
    return Page(inside.partition(f'class="card {framework} ')[2].partition("</section>")[0]).text


def test_paired_functions_have_the_same_names_in_every_framework(cut: dict[str, Any]) -> None:
    assert set(cut["pieces"]) == {entry.anchor for entry in ENTRIES}
    paired = [entry for entry in ENTRIES if entry.anchor not in ("step", "generate", "native")]
    assert len(paired) >= 20
    for entry in paired:
        names = [cut["pieces"][entry.anchor][framework][0]["name"] for framework in FRAMEWORKS]
        assert len(set(names)) == 1, entry.anchor


def test_pieces_are_the_lines_that_they_name(cut: dict[str, Any]) -> None:
    for found in cut["pieces"].values():
        for piece in [piece for pieces in found.values() for piece in pieces]:
            lines = (ROOT / piece["file"]).read_text(encoding="utf-8").splitlines()
            assert "\n".join(lines[piece["first"] - 1 : piece["last"]]) == piece["text"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("anchor", ["lstm", "unroll", "step"])
def test_a_missing_function_is_named(checkout: Path, framework: str, anchor: str) -> None:
    (entry,) = (entry for entry in ENTRIES if entry.anchor == anchor)
    file, name = entry.places[framework][0]
    last = name.rpartition(".")[2]
    change(checkout, f"impls/{framework}/{file}", f"def {last}(", f"def {last}s(")
    with pytest.raises(UserError, match=rf"impls/{framework}/{file}: expected {re.escape(name)} .*mean"):
        extract(checkout)


def test_a_missing_file_is_named(checkout: Path) -> None:
    (checkout / "impls/jax/native.py").unlink()
    with pytest.raises(UserError, match=r"impls/jax/native\.py: expected a source file"):
        extract(checkout)


def test_a_formula_that_left_the_docstring_is_no_longer_shown(checkout: Path) -> None:
    change(checkout, "impls/jax/training.py", "w <- w - lr g", "w <- w - g lr")
    with pytest.raises(UserError, match=r"impls/jax/training\.py: expected the formula 'w <- w - lr g'"):
        extract(checkout)


def test_nothing_is_imported(checkout: Path) -> None:
    path = checkout / "impls/numpy/scratch.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nraise SystemExit('imported')\n", encoding="utf-8")
    assert extract(checkout)["pieces"]["rnn"]["numpy"][0]["name"] == "rnn_cell"


def test_a_changed_source_has_another_hash(cut: dict[str, Any], checkout: Path) -> None:
    change(checkout, "impls/torch/scratch.py", "torch.tanh(c_new)", "c_new.tanh()")
    found = extract(checkout)
    changed = {name for name in FRAMEWORKS if found["sources"][name] != cut["sources"][name]}
    assert changed == {"torch"}
    assert "c_new.tanh()" in found["pieces"]["lstm"]["torch"][0]["text"]


def test_the_same_arguments_give_the_same_bytes(cut: dict[str, Any], make: Any) -> None:
    found = rows(
        *make.row(cell="lstm", variant="scratch"), *make.row(variant="scratch", implementation="jax")
    )
    page = render(cut, found, "a-name")
    assert render(cut, found, "a-name") == page
    assert render(json.loads(json.dumps(cut, sort_keys=True)), found, "a-name") == page


def test_every_line_of_code_is_on_the_page(cut: dict[str, Any]) -> None:
    text = Page(render(cut, [])).text
    for found in cut["pieces"].values():
        for piece in [piece for pieces in found.values() for piece in pieces]:
            for line in piece["text"].splitlines():
                assert " ".join(line.split()) in text


def test_a_script_in_a_source_or_a_record_is_text(cut: dict[str, Any], make: Any) -> None:
    cut = copy.deepcopy(cut)
    piece = cut["pieces"]["cross-entropy"]["jax"][0]
    piece["text"] = (
        piece["text"].replace("Mean of", f"{SCRIPT} of").replace("losses", f"losses  # {SCRIPT}", 1)
    )
    piece["file"] = piece["name"] = f'"{SCRIPT}'
    cut["pieces"]["lstm"]["numpy"][0]["above"] = f"lstm ({SCRIPT})"
    fell = make.parity("failed", tensor=SCRIPT, task=SCRIPT, variant="scratch")
    odd = make.parity("deviates", deviation={"id": SCRIPT, "link": SCRIPT}, variant="scratch", cell="gru")
    fast = make.row(task=SCRIPT, size=SCRIPT, variant="scratch", implementation="jax")
    page = Page(render(cut, rows(fell, odd, *fast), SCRIPT))
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) >= 8


def test_what_the_records_do_not_hold_is_said(cut: dict[str, Any], make: Any) -> None:
    page = render(cut, [])
    assert "No records: nothing on this page is proven or timed." in Page(page).text
    for entry in ENTRIES:
        shown = len(entry.places)
        assert article(page, entry.anchor).count("not proven in these records") == shown
        assert article(page, entry.anchor).count("not timed in these records") == shown * bool(entry.times)
    some = render(cut, rows(*make.row(cell="lstm", variant="scratch")))
    assert "not proven" not in card(some, "lstm", "torch")
    assert "not proven in these records" in card(some, "lstm", "jax")
    assert "not proven in these records" in card(some, "rnn", "torch")
    assert "No records" not in some


def test_code_that_was_not_measured_is_said(cut: dict[str, Any], make: Any) -> None:
    records = make.row(variant="scratch") + make.row(variant="scratch", implementation="jax")
    found = rows(*records)
    there = {record["row"]["implementation"]: record["provenance"]["source"] for record in records}
    page = render(cut | {"sources": cut["sources"] | {"jax": there["jax"]}}, found)
    notice = Page(page.partition("<aside")[2].partition("</aside>")[0]).text
    assert f"PyTorch: shown {cut['sources']['torch'][:12]}, measured {there['torch'][:12]}" in notice
    assert "JAX" not in notice
    assert "Measured on other code" in card(page, "lstm", "torch")
    assert "Measured on other code" not in card(page, "lstm", "jax")
    same = render(cut | {"sources": cut["sources"] | there}, found)
    assert "not the code that was measured" not in same


def test_proof_and_speed_stand_with_their_ids(cut: dict[str, Any], make: Any) -> None:
    records = make.row(variant="scratch", scatter=0.0, drifts=[1.0] * 3)
    text = card(render(cut, rows(*records)), "lstm", "torch")
    assert (
        "float32 proven in 1 row at most 0.1 of its tolerance (level 1, forward, adding: 1.0e-15 of" in text
    )
    assert re.search(r"adding small \(float32, cpu, 2 threads\) 1[\d.,]+ tokens/s", text)
    assert "times the GEMM floor" in text
    assert re.search(r"[0-9a-f]{10}-parity", text)
    assert re.search(r"[0-9a-f]{10}-train", text)


def test_a_number_leads_to_its_row_and_its_record(cut: dict[str, Any], make: Any) -> None:
    records = make.row(variant="scratch")
    parity = records[0]
    links = Page(render(cut, rows(*records), "a-name")).links
    assert f"../../../results/published/a-name/parity-{parity['id']}.json" in links
    assert any(re.fullmatch(r"index\.html#[0-9a-f]{10}-parity", link) for link in links)
    assert not any("results/" in link for link in Page(render(cut, rows(*records))).links)


@pytest.mark.parametrize(("name", "folder"), [("", "reports/latest"), ("a-name", "reports/published/a-name")])
def test_links_to_sources_arrive(cut: dict[str, Any], name: str, folder: str) -> None:
    page = Page(render(cut, [], name))
    sources = [link.partition("#L") for link in page.links if "impls/" in link]
    assert len(sources) > 90
    for path, _, lines in sources:
        target = (ROOT / folder / path).resolve()
        assert target.is_relative_to(ROOT / "impls")
        last = int(lines.partition("-L")[2])
        assert last <= len(target.read_text(encoding="utf-8").splitlines())
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_row_that_fell_proves_what_lies_below(cut: dict[str, Any], make: Any) -> None:
    page = render(cut, rows(make.parity("failed", variant="scratch", tensor="head.W_hq")))
    assert "failed in 1 of 1 row adding lstm: level 3, head.W_hq" in card(page, "lstm", "torch")
    assert "proven in 1 row" in card(page, "head", "torch")  # level 1
    assert "failed in 1 of 1 row" in card(page, "step", "torch")  # level 5


def test_void_and_deviating_rows_are_no_proof(cut: dict[str, Any], make: Any) -> None:
    stray = [make.parity(implementation=name, variant="scratch") for name in ("numpy", "jax", "tensorflow")]
    stray.append(make.parity(variant="scratch", digest="other"))
    odd = make.parity("deviates", deviation={"id": "resets-after", "link": "https://example.org"}, cell="gru")
    page = render(cut, rows(*stray, odd))
    assert "failed in 1 of 1 row adding lstm: void, data or weights differ" in card(page, "lstm", "torch")
    assert "proven in 1 row" in card(page, "lstm", "jax")
    assert "deviates in 1 of 1 row adding gru: resets-after" in card(page, "native", "torch")


@pytest.mark.parametrize(
    ("loss", "proven"), [("cross_entropy", "cross-entropy"), ("squared_error", "squared-error")]
)
def test_a_loss_is_proven_by_rows_that_use_it(cut: dict[str, Any], make: Any, loss: str, proven: str) -> None:
    page = render(cut, rows(make.parity(variant="scratch", model={"loss": loss})))
    for anchor in ("cross-entropy", "binary-cross-entropy", "squared-error"):
        assert ("proven in 1 row" in card(page, anchor, "torch")) == (anchor == proven)


def test_machines_are_told_apart(cut: dict[str, Any], make: Any) -> None:
    records = make.row(variant="scratch", cpu="Old CPU") + make.row(variant="scratch", cpu="New CPU")
    text = card(render(cut, rows(*records)), "lstm", "torch")
    assert "2 threads, Old CPU)" in text
    assert "2 threads, New CPU)" in text


def test_many_timings_are_behind_a_summary(cut: dict[str, Any], make: Any) -> None:
    records = [record for n in range(5) for record in make.row(passes=1, variant="scratch", task=f"task{n}")]
    page = render(cut, rows(*records))
    text = card(page, "lstm", "torch")
    assert "2 more timings" in text
    assert all(f"task{n} small" in text for n in range(5))


def test_an_older_extract_shows_what_it_holds(cut: dict[str, Any]) -> None:
    older = cut | {"pieces": {name: found for name, found in cut["pieces"].items() if name != "bridge"}}
    page = render(older, [])
    assert 'id="bridge"' not in page
    assert 'id="head"' in page


def test_another_schema_is_refused(cut: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected an extract of schema 1, got 2"):
        render(cut | {"schema": 2}, [])


def test_the_policy_allows_this_style_and_nothing_else(cut: dict[str, Any]) -> None:
    page = render(cut, [])
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//|@import|url\(| style=\"", page)


def test_the_page_is_small(cut: dict[str, Any], make: Any) -> None:
    assert len(render(cut, rows(*make.row(variant="scratch"))).encode()) < 1_000_000


def test_headings_go_one_level_at_a_time(cut: dict[str, Any]) -> None:
    levels = [int(tag[1]) for tag in Page(render(cut, [])).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_framework_of_an_entry_has_its_card(cut: dict[str, Any]) -> None:
    page = render(cut, [])
    for entry in ENTRIES:
        assert [name for name in FRAMEWORKS if card(page, entry.anchor, name)] == list(entry.places)
    assert not card(page, "native", "numpy")
