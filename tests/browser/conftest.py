"""A real browser. Where there is none the tests fail: a page that nobody looked at is not proven."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page, expect, sync_playwright

from reports.html import page as html
from reports.rows import select
from results.record import Record
from tests.browser import synthetic
from tests.browser.checks import Opened

NAMES = ("chromium", "chromium-browser", "google-chrome")
Open = Callable[..., Opened]
PATIENCE = 300_000  # ms that a page may take: it ends a test that hangs, and judges no machine's speed


def executable() -> str:
    """The browser: that of UNROLLED_BROWSER, or a Chromium on the path."""
    named = os.environ.get("UNROLLED_BROWSER")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None or not Path(found).is_file():
        pytest.fail(
            f"expected {' or '.join(NAMES)} on the path, or a browser named by UNROLLED_BROWSER, "
            f"got {named or 'none'}. Install it: apt-get install chromium",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="module")  # not longer: two drivers cannot run at once
def browser() -> Iterator[Browser]:
    path = executable()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        # A container's root has no sandbox to offer, its /dev/shm may have 64 MB, with which a tab
        # crashes; the page is our own and asks no network.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=path, args=args, timeout=PATIENCE)
        yield browser
        browser.close()


def new_page(browser: Browser, width: int, height: int, scheme: Any) -> Page:
    """A page with nothing in it, of a context of its own, which its test closes."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    return context.new_page()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page's text at a size, in a scheme, with an ear on all that it says and asks for."""
    pages = []

    def open_(text: str, width: int = 1440, scheme: Any = "light") -> Opened:
        file = tmp_path / "index.html"
        file.write_bytes(text.encode())
        opened = Opened(new_page(browser, width, 900, scheme))
        pages.append(opened.page)
        listen(opened)
        opened.page.goto(file.as_uri(), wait_until="load")
        settle(opened)
        return opened

    yield open_
    for page in pages:
        page.context.close()


def listen(opened: Opened) -> None:
    """Keep what the page says, asks for and raises."""

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            opened.messages.append(f"{message.type}: {message.text}")

    def raised(error: Error) -> None:
        opened.messages.append(f"raised: {error}")

    def asked(dialog: Dialog) -> None:
        opened.dialogs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.page.on("console", said)
    opened.page.on("pageerror", raised)
    opened.page.on("dialog", asked)
    opened.page.on("request", lambda request: opened.requests.append(request.url))


def settle(opened: Opened) -> None:
    """Until every chart that is unfolded has been drawn."""
    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('details.figure[open] .chart')]"
        ".every((chart) => chart.querySelector('svg'))"
    )
    # What a chart says of its spec comes with the frame after it was drawn.
    opened.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def rendered(records: list[Record]) -> str:
    rows, left_out = select(records)
    return html.render(rows, name="synthetic", left_out=left_out)


@pytest.fixture(scope="session")
def mixed() -> str:
    return rendered(synthetic.mixed())


@pytest.fixture(scope="session")
def evil() -> str:
    return rendered(synthetic.evil())
