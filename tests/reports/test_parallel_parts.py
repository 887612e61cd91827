"""The parts of the parallel edition: lines side by side, tokens marked, equations read off code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.edition import alignment, code, equations, extract
from reports.edition.contents import CONTENTS, FRAMEWORKS, Derived

ROOT = Path(__file__).parents[2]
ENTRIES = {entry.anchor: entry for section in CONTENTS for entry in section.entries}
PLAIN = str.maketrans(
    {"\N{MINUS SIGN}": "-", "\N{GREEK SMALL LETTER SIGMA}": "s", "\N{MODIFIER LETTER CIRCUMFLEX ACCENT}": "^"}
)
WORDS = st.lists(
    st.lists(st.sampled_from(["a", "b", "=", "(", ")", "return", "x"]), max_size=5).map(tuple), max_size=8
)


def said(math: str) -> str:
    """The text of MathML in plain marks, those of its structure left out."""
    return re.sub(r"<[^>]+>", "", math).translate(PLAIN)


def split(**texts: str) -> dict[str, list[alignment.Line]]:
    return {name: [code.bare(line) for line in code.tokens([text])] for name, text in texts.items()}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({"a": WORDS, "b": WORDS, "c": WORDS}))
def test_every_line_stands_once_and_in_order(lines: dict[str, list[alignment.Line]]) -> None:
    rows = alignment.aligned(lines)
    for name, own in lines.items():
        assert [row[name] for row in rows if name in row] == list(range(len(own)))
    packed = alignment.packed(rows)
    for name, own in lines.items():
        assert [row[name] for together in packed for row in together if name in row] == list(range(len(own)))
        assert all(sum(name in row for row in together) <= 1 for together in packed)


def test_lines_that_name_the_same_stand_side_by_side() -> None:
    lines = split(
        a="c = f * c\ntanh_c = np.tanh(c)\nh = o * tanh_c\nreturn h, (x, c)",
        b="c = f * c\nh = o * torch.tanh(c)\nreturn h",
    )
    assert alignment.aligned(lines) == [{"a": 0, "b": 0}, {"a": 1}, {"a": 2, "b": 1}, {"a": 3, "b": 2}]


def test_lines_without_counterparts_take_no_height_of_their_own() -> None:
    assert alignment.packed([{"a": 0, "b": 0}, {"a": 1}, {"b": 1}, {"a": 2, "b": 2}]) == [
        [{"a": 0, "b": 0}],
        [{"a": 1}, {"b": 1}],
        [{"a": 2, "b": 2}],
    ]


def test_cells_stand_line_beside_line() -> None:
    cut = extract(ROOT)["pieces"]
    for anchor in ("rnn", "lstm", "gru", "gru-reset-before"):
        lines = split(**{name: cut[anchor][name][0]["text"] for name in FRAMEWORKS})
        rows = alignment.aligned(lines)
        shared = [row for row in rows if len(row) == len(FRAMEWORKS)]
        assert len(shared) == len(lines["jax"]), anchor


def test_what_only_one_has_is_marked() -> None:
    lines = split(a="h = np.tanh(x)", b="h = torch.tanh(x)", c="h = tanh(x)")
    common = alignment.shared({"a": 0, "b": 0, "c": 0}, lines)
    shown = {name: code.html(code.tokens([text])[0], common[name]) for name, text in
             (("a", "h = np.tanh(x)"), ("b", "h = torch.tanh(x)"), ("c", "h = tanh(x)"))}  # fmt: skip
    assert shown["a"] == "h = <mark>np.</mark>tanh(x)"
    assert shown["b"] == "h = <mark>torch.</mark>tanh(x)"
    assert "mark" not in shown["c"]


def test_code_is_escaped_and_keeps_its_text() -> None:
    source = 'def f(a):\n    """<b> & "more"\n\n    text"""\n    return a < 1 and "<script>"  # </code>'
    lines = code.tokens([source])
    assert ["".join(text for _, text in line) for line in lines] == source.split("\n")
    html = "\n".join(code.html(line, frozenset()) for line in lines)
    assert "<script" not in html
    assert "</code" not in html
    assert "&lt;script&gt;" in html


def test_a_method_stands_at_the_left() -> None:
    lines = code.tokens(["    def f(self):\n        return 1", "    def g(self):\n        return 2"])
    assert [code.depth(line) for line in lines] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("rnn", ["ht=tanh(xtWxh+ht-1Whh+bh)"]),
        (
            "lstm",
            [
                "a=xtWxh+ht-1Whh+bh",
                "[ai,af,ag,ao]=a",
                "i=s(ai) f=s(af) g=tanh(ag) o=s(ao)",
                "ct=f⊙ct-1+i⊙g",
                "ht=o⊙tanh(ct)",
            ],
        ),
        (
            "gru",
            [
                "ax=xtWxh+bh",
                "ah=ht-1Whh",
                "[xr,xz,xn]=ax",
                "[hr,hz,hn]=ah",
                "r=s(xr+hr) z=s(xz+hz)",
                "n=tanh(xn+r⊙(hn+bhn))",
                "ht=(1-z)⊙n+z⊙ht-1",
            ],
        ),
        (
            "gru-reset-before",
            [
                "ax=xtWxh+bh",
                "[xr,xz,xn]=ax",
                "[hr,hz]=ht-1Whr,hz",
                "r=s(xr+hr) z=s(xz+hz)",
                "n=tanh(xn+(r⊙ht-1)Whn)",
                "ht=(1-z)⊙n+z⊙ht-1",
            ],
        ),
        (
            "adam",
            [
                "mt=β1mt-1+(1-β1)gt",
                "vt=β2vt-1+(1-β2)gtgt",
                "m^t=mt1-β1t",
                "v^t=vt1-β2t",
                "wt=wt-1-ηm^tv^t+ε",
            ],
        ),
    ],
)
def test_equations_follow_from_the_code(anchor: str, expected: list[str]) -> None:
    how = ENTRIES[anchor].derived
    assert how is not None
    source = extract(ROOT)["pieces"][anchor][how.framework][0]["text"]
    assert [" ".join(map(said, together)) for together in equations.derived(source, how)] == expected


def test_another_code_gives_another_equation() -> None:
    how = Derived({"h": "h_{t-1}", "h_new": "h_t"})
    (together,) = equations.derived("def f(h, z):\n    h_new = (h - (z - 1)) * z\n    return h_new", how)
    assert said(together[0]) == "ht=(ht-1-(z-1))⊙z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w <- w - lr g", "w←w-lrg"),
        ("g * min(1, threshold / ||g||)", "g·min(1,threshold/‖g‖)"),
        ("-t log s(z) - (1 - t) log(1 - s(z))", "-tlogs(z)-(1-t)log(1-s(z))"),
        ("tanh(inputs W_xh + b_h)", "tanh(inputsWxh+bh)"),
    ],
)
def test_formulas_of_docstrings(text: str, expected: str) -> None:
    assert said(equations.quoted(text)) == expected


def test_an_exponent_belongs_to_its_bracket() -> None:
    math = equations.quoted("(logits - targets)^2")
    assert said(math.partition("<msup>")[2].partition("</msup>")[0]) == "(logits-targets)2"


def test_a_formula_is_escaped() -> None:
    assert "<script" not in equations.quoted("<script>")
