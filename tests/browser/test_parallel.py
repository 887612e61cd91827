"""The parallel edition in a browser: wide, middle and narrow, light and dark, by mouse, keyboard and ear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from reports.edition import extract, render
from reports.rows import select
from results import store
from tests.browser.conftest import new_page

ROOT = Path(__file__).parents[2]
SIZES = {"wide": (1920, 1200), "middle": (1280, 900), "phone": (360, 780)}
COLUMNS = {"wide": 4, "middle": 2, "phone": 1}

# Of every text on the page: its contrast to what is painted behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    const colour = parts(getComputedStyle(node).backgroundColor);
    return colour[3] === 0 ? behind(node.parentElement) : colour;
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = node.tagName + "." + node.className;
    found[name] = Math.min(found[name] ?? 99, ratio);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a published report's records and of the sources as they are."""
    folder = sorted(path for path in (ROOT / "results" / "published").iterdir() if path.is_dir())[0]
    records, _ = store.read_all(folder, keep_aside=False)
    path = tmp_path_factory.mktemp("parallel") / "parallel.html"
    path.write_text(render(extract(ROOT), select(records)[0], folder.name), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page at a size and in a scheme; what it says on the console, or asks for, fails the test."""
    size, scheme = request.param
    width, height = SIZES[size]
    page = new_page(browser, width, height, scheme)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda asked: None if asked.url == file.as_uri() else heard.append(asked.url))
    page.goto(file.as_uri())
    yield page
    page.context.close()
    assert heard == []


def everywhere() -> Any:
    cases = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    return pytest.mark.parametrize("opened", cases, indirect=True, ids=lambda case: "-".join(case))


def at(size: str) -> Any:
    return pytest.mark.parametrize("opened", [(size, "light")], indirect=True, ids=[size])


@everywhere()
def test_nothing_scrolls_sideways(opened: Page) -> None:
    opened.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert opened.evaluate("() => document.documentElement.scrollWidth") <= opened.viewport_size["width"]
    wide = opened.evaluate(
        "() => [...document.querySelectorAll('pre, .line, .evidence, .head')]"
        ".filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.textContent)"
    )
    assert wide == []


@everywhere()
def test_every_text_can_be_read(opened: Page) -> None:
    contrasts = opened.evaluate(CONTRAST)
    assert len(contrasts) > 20
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("opened", [(size, "light") for size in SIZES], indirect=True, ids=list(SIZES))
def test_frameworks_stand_side_by_side(opened: Page) -> None:
    width = opened.viewport_size["width"]
    size = next(name for name, (known, _) in SIZES.items() if known == width)
    lefts = opened.evaluate(
        "() => [...document.querySelectorAll('[aria-labelledby=lstm] .cards > .card')]"
        ".map((each) => Math.round(each.getBoundingClientRect().left))"
    )
    assert len(lefts) == 4
    assert len(set(lefts)) == COLUMNS[size]


@at("wide")
def test_lines_that_answer_each_other_stand_in_one_row(opened: Page) -> None:
    tops = opened.evaluate(
        "() => [...document.querySelectorAll('[aria-labelledby=lstm] .cards > .card')].map((card) =>"
        " [...card.querySelectorAll('.line')]"
        ".filter((line) => /^\\s+(c_new|h_new|return)/.test(line.textContent))"
        ".map((line) => Math.round(line.getBoundingClientRect().top)))"
    )
    assert len(tops) == 4
    assert len(tops[0]) == 3
    assert len(set(map(tuple, tops))) == 1
    assert tops[0] == sorted(set(tops[0]))


@at("wide")
def test_two_frameworks_alone_share_the_width(opened: Page) -> None:
    before = opened.locator("[aria-labelledby=lstm] .card.jax").bounding_box()
    opened.get_by_label("NumPy", exact=True).uncheck()
    opened.get_by_label("TensorFlow", exact=True).uncheck()
    after = opened.locator("[aria-labelledby=lstm] .card.jax").bounding_box()
    assert before
    assert after
    assert after["width"] > 1.8 * before["width"]
    assert not opened.locator(".card.numpy").first.is_visible()
    assert opened.locator(".card.torch").first.is_visible()


@at("middle")
def test_the_marks_can_be_put_away(opened: Page) -> None:
    mark = opened.locator("main mark").first
    painted = "(each) => getComputedStyle(each).backgroundColor"
    assert mark.evaluate(painted) != "rgba(0, 0, 0, 0)"
    opened.get_by_label("what differs").uncheck()
    assert mark.evaluate(painted) == "rgba(0, 0, 0, 0)"


@at("phone")
def test_by_keyboard(opened: Page) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("() => document.activeElement.textContent") == "Skip to the code"
    opened.keyboard.press("Enter")
    opened.get_by_label("JAX", exact=True).focus()
    opened.keyboard.press("Space")
    expect(opened.locator(".card.jax").first).to_be_hidden()
    hidden = opened.locator(".by-hand .code").first
    expect(hidden).to_be_hidden()
    opened.locator(".by-hand summary").first.focus()
    opened.keyboard.press("Enter")
    expect(hidden).to_be_visible()


@at("middle")
def test_a_link_of_the_contents_shows_its_heading(opened: Page) -> None:
    opened.get_by_role("link", name="adam", exact=True).click()
    heading = opened.locator("#adam").bounding_box()
    bar = opened.locator(".controls").bounding_box()
    assert heading
    assert bar
    assert bar["y"] + bar["height"] <= heading["y"] < opened.viewport_size["height"] / 2


@at("middle")
def test_by_ear(opened: Page) -> None:
    for role in ("main", "navigation", "banner", "contentinfo"):
        assert opened.get_by_role(role).count() == 1
    assert opened.get_by_role("region", name="lstm in JAX").first.is_visible()
    assert opened.get_by_role("heading", level=1).count() == 1
    assert opened.get_by_role("math").count() > 30


@at("wide")
def test_equations_are_drawn(opened: Page) -> None:
    boxes = opened.evaluate(
        "() => [...document.querySelectorAll('math')].filter((each) => each.checkVisibility())"
        ".map((each) => each.getBoundingClientRect()).map((box) => [box.width, box.height])"
    )
    assert len(boxes) > 30
    assert all(width > 10 and height > 8 for width, height in boxes)
