"""What a page is held to in a browser: each check gives the faults it found, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import Page

TEXTS = "body, p, h1, h2, caption span, th, td, small, code, label span, summary, figcaption, select, a"

OVERFLOW = """() => {
  const inBox = (e) => { for (let p = e.parentElement; p; p = p.parentElement)
    if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX)) return true; return false; };
  const found = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !inBox(e)
    && !e.matches(".skip") && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => `${e.tagName} ${e.id || e.className} ends at ${Math.round(e.getBoundingClientRect().right)}`);
  if (document.documentElement.scrollWidth > innerWidth)
    found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  return found; }"""

# Blocks that share a parent, and boxes of tables and figures anywhere, may touch and not overlap.
OVERLAP = """() => {
  const seen = (e) => { const style = getComputedStyle(e), box = e.getBoundingClientRect();
    return e.checkVisibility() && box.width > 1 && box.height > 1
      && !["sticky", "fixed", "absolute"].includes(style.position); };
  const found = [], name = (e) => `${e.tagName.toLowerCase()}#${e.id}.${e.className}`;
  const compare = (all) => all.forEach((a, i) => all.slice(i + 1).forEach((b) => {
    if (a.contains(b) || b.contains(a)) return;
    const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (wide > 1 && high > 1)
      found.push(`${name(a)} and ${name(b)} by ${Math.round(wide)} x ${Math.round(high)}`);
  }));
  const parents = "body, header, main, section, form, nav ul, figure, .machine, .dt-layout-row";
  for (const parent of document.querySelectorAll(parents))
    compare([...parent.children].filter(seen));
  compare([...document.querySelectorAll(".box, figcaption, h2, summary.figure")].filter(seen));
  return found; }"""

# WCAG 2.2, 1.4.3: the ratio of the relative luminances of a text and of what is painted behind it.
CONTRAST = """(selector) => {
  const parse = (text) => {
    const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a ?? 1]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { const layers = [];
    for (let p = e; p; p = p.parentElement) layers.push(parse(getComputedStyle(p).backgroundColor));
    return layers.reverse().reduce((under, [r, g, b, a]) =>
      [r, g, b].map((v, i) => v * a + under[i] * (1 - a)), [255, 255, 255]); };
  const worst = new Map();
  for (const e of document.querySelectorAll(selector)) {
    if (!e.checkVisibility() || !e.textContent.trim() || e.closest(":disabled, .disabled")) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = `${e.tagName.toLowerCase()}.${e.className}`;
    if (ratio < 4.5 && !(worst.get(key) < ratio)) worst.set(key, ratio);
  }
  return [...worst].map(([key, ratio]) => `${key}: ${ratio.toFixed(2)}`); }"""

UNNAMED = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const landmarks = ["header", "main", "nav", "footer", "form"];
  return [
    ...all("table.data").filter((e) => !e.caption?.textContent.trim()).map((e) => `no caption: ${e.id}`),
    ...all("table th").filter((e) => !e.scope).map((e) => `no scope: ${e.textContent}`),
    ...all("select, input").filter((e) => !e.labels?.length && !e.ariaLabel)
      .map((e) => `no label: ${e.name}`),
    ...landmarks.filter((name) => !document.querySelector(name)).map((name) => `no ${name}`),
    ...all("[role=img]").filter((e) => !e.ariaLabel).map((e) => `no text for ${e.id}`),
  ]; }"""


@dataclass
class Opened:
    """A page in a browser, and all that it has said and asked for since it was opened."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What holds of every page at every size in both schemes."""
        page = self.page
        asked = [f"asked for {address}" for address in self.requests[1:]]
        found = [*page.evaluate(OVERFLOW), *page.evaluate(OVERLAP), *page.evaluate(CONTRAST, TEXTS)]
        return [*self.messages, *asked, *self.dialogs, *found, *page.evaluate(UNNAMED)]
