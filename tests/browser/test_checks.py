"""Each check of a page is shown a page that is broken in just that way, and must say so."""

from __future__ import annotations

import pytest

from reports.html import bundles
from tests.browser import conftest
from tests.browser.checks import CONTRAST, OVERFLOW, OVERLAP, TEXTS, UNNAMED
from tests.browser.conftest import Open

WIDE = "<div id='wide' style='width: 3000px'>wide</div>"
OVER = "<section id='over' style='margin-top: -80px; position: relative'>over the one before</section>"
PALE = "<p class='pale' style='color: #aaa; background: #fff'>pale</p>"


def spoilt(page: str, planted: str) -> str:
    """The page with something planted at the end of its main part."""
    assert page.count("</main>") == 1
    return page.replace("</main>", f"{planted}</main>")


def unguarded(page: str, planted: str) -> str:
    """The page without its policy, with a script planted."""
    head, _, rest = page.partition('<meta http-equiv="Content-Security-Policy"')
    return spoilt(head + rest[rest.index(">") + 1 :], f"<script>{planted}</script>")


def test_a_block_too_wide_is_seen(mixed: str, show: Open) -> None:
    found = show(spoilt(mixed, WIDE), 900).page.evaluate(OVERFLOW)
    assert any("wide ends at" in line for line in found)
    assert any(line.startswith("the page is") for line in found)


def test_an_overlap_is_seen(mixed: str, show: Open) -> None:
    found = show(spoilt(mixed, OVER)).page.evaluate(OVERLAP)
    assert any("section#over" in line for line in found)


def test_pale_text_is_seen(mixed: str, show: Open) -> None:
    (found,) = show(spoilt(mixed, PALE)).page.evaluate(CONTRAST, TEXTS)
    assert found == "p.pale: 2.32"


def test_what_has_no_name_is_seen(mixed: str, show: Open) -> None:
    planted = "<select name='s'></select><table class='data'><thead><tr><th>x</th></tr></thead></table>"
    found = show(spoilt(mixed, "")).page
    found.evaluate("(html) => document.querySelector('main').insertAdjacentHTML('beforeend', html)", planted)
    assert found.evaluate(UNNAMED) == ["no caption: ", "no scope: x", "no label: s"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("console.error('planted')", "error: planted"),
        ("console.warn('planted')", "warning: planted"),
        ("throw new Error('planted')", "raised: planted"),
    ],
)
def test_what_the_page_says_is_heard(mixed: str, show: Open, script: str, said: str) -> None:
    assert any(said in message for message in show(unguarded(mixed, script)).messages)


def test_a_request_is_heard_where_the_policy_is_gone(mixed: str, show: Open) -> None:
    opened = show(unguarded(mixed, "new Image().src = 'http://127.0.0.1:9/planted.png'"))
    assert "asked for http://127.0.0.1:9/planted.png" in opened.faults()


@pytest.mark.parametrize(
    "planted",
    [
        "<img src='http://127.0.0.1:9/x.png' alt='x'>",
        "<link rel='stylesheet' href='http://127.0.0.1:9/x.css'>",
        "<iframe src='http://127.0.0.1:9/'></iframe>",
        "<script src='http://127.0.0.1:9/x.js'></script>",
        "<script>alert(1)</script>",
        "<p onclick='alert(1)' id='handler'>x</p>",
    ],
)
def test_the_policy_stops_what_is_planted(mixed: str, show: Open, planted: str) -> None:
    opened = show(spoilt(mixed, planted))
    if "handler" in planted:
        opened.page.click("#handler")
    assert any("Content Security Policy" in message for message in opened.messages)
    assert opened.dialogs == []


@pytest.mark.parametrize(
    ("call", "directive"),
    [
        ("eval('1')", "script-src"),
        ("new Function('')", "script-src"),
        ("fetch('http://127.0.0.1:9/').catch(() => 0)", "connect-src"),
    ],
)
def test_even_a_script_that_may_run_may_neither_evaluate_nor_connect(
    mixed: str, show: Open, call: str, directive: str
) -> None:
    script = (
        "document.addEventListener('securitypolicyviolation',"
        "(event) => { document.title = event.effectiveDirective; });"
        f"try {{ {call}; }} catch (error) {{ console.info(error); }}"
    )
    text = spoilt(mixed, f'<script type="module">{script}</script>')
    assert text.count("script-src ") == 1
    page = show(text.replace("script-src ", f"script-src {bundles.digest(script)} ")).page
    page.wait_for_function("(directive) => document.title === directive", arg=directive)


def test_without_a_browser_the_tests_fail_and_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("UNROLLED_BROWSER", raising=False)
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        conftest.executable()
    monkeypatch.setenv("UNROLLED_BROWSER", "/no/such/browser")
    with pytest.raises(pytest.fail.Exception, match="got /no/such/browser"):
        conftest.executable()
