"""Equations as MathML, which browsers draw and screen readers say: read off code, or off a docstring."""

from __future__ import annotations

import ast
import re
import textwrap

from markupsafe import Markup

from reports.edition.contents import Derived

SIGMA, MINUS = "\N{GREEK SMALL LETTER SIGMA}", "\N{MINUS SIGN}"
NAMES = {"sigmoid": SIGMA, "s": SIGMA}
SPLITS = {"split", "chunk"}
# Of text: name with subscript, number, arrow, norm, one mark.
TOKEN = re.compile(r"[A-Za-z]+(?:_\w+)?|\d+|<-|\|\||\^\d+|\S")
MARKS = {"<-": "←", "||": "‖", "*": "·", "-": MINUS}
OPERATORS = {"+", MINUS, "·", "⊙", "=", "←", "/", ","}
THIN = Markup('<mspace width="0.2em"/>')  # between the factors of a product
HAT, HAT_ALONE = "\N{COMBINING CIRCUMFLEX ACCENT}", "\N{MODIFIER LETTER CIRCUMFLEX ACCENT}"


def quoted(text: str) -> Markup:
    """A formula of a docstring, as in ``g * min(1, threshold / ||g||)``."""
    parts: list[Markup] = []
    for token in TOKEN.findall(text):
        if token.startswith("^"):
            parts[-1] = Markup("<msup>{}{}</msup>").format(
                _closed(parts), Markup("<mn>{}</mn>").format(token[1:])
            )
        elif token[0].isalpha():
            parts += [THIN] if _is_symbol(parts) else []
            parts.append(symbol(NAMES.get(token, token)))
        elif token.isdigit():
            parts.append(Markup("<mn>{}</mn>").format(token))
        else:
            parts.append(_mark(MARKS.get(token, token)))
    return _math(Markup("").join(parts))


def derived(source: str, how: Derived) -> list[list[Markup]]:
    """The equations of each statement that computes something. The source is that of one function."""
    reader = _Reader(how)
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign)]
    found = [[_math(each) for each in reader.equations(node)] for node in statements]
    return [together for together in found if together]


def docstring(source: str) -> list[str]:
    """The paragraphs of a definition's docstring, each on one line; none where it has none."""
    definition = ast.parse(textwrap.dedent(source)).body[0]
    if not isinstance(definition, ast.FunctionDef | ast.ClassDef):
        return []
    text = ast.get_docstring(definition) or ""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def symbol(text: str) -> Markup:
    """``h_{t-1}``: a letter and its subscript."""
    base, _, under = text.partition("_")
    # Slanted by the style sheet: Unicode's slanted letters, h above all, come from whatever font has them.
    plain = Markup('<mi mathvariant="normal"{}>{}</mi>')
    shown = plain.format(Markup(' class="word"') if len(base) > 2 else "", base.removesuffix(HAT))
    if base.endswith(HAT):
        shown = Markup('<mover accent="true">{}<mo stretchy="false">{}</mo></mover>').format(shown, HAT_ALONE)
    if not under:
        return shown
    below = under.strip("{}").replace("-", MINUS)
    lower = Markup("<mn>{}</mn>").format(below) if below.isdigit() else plain.format("", below)
    return Markup("<msub>{}{}</msub>").format(shown, lower)


class _Reader:
    """Expressions of one function, in its symbols."""

    def __init__(self, how: Derived) -> None:
        self.symbols = how.symbols
        self.elementwise = how.elementwise

    def equations(self, node: ast.Assign) -> list[Markup]:
        """What a statement says; nothing where it only takes apart or renames."""
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=True)
            return [self._equation(left, right) for left, right in pairs if _computes(right)]
        return [self._equation(target, value)] if _computes(value) else []

    def _equation(self, target: ast.expr, value: ast.expr) -> Markup:
        left = self._expression(target)
        if isinstance(target, ast.Tuple):  # the blocks of a product, side by side
            left = _mark("[") + left + _mark("]")
        return Markup("{}<mo>=</mo>{}").format(left, self._expression(value))

    def _expression(self, node: ast.expr) -> Markup:
        text = ast.unparse(node)
        if text in self.symbols:
            return symbol(self.symbols[text])
        match node:
            case ast.Name():
                return symbol(node.id)
            case ast.Constant():
                return Markup("<mn>{}</mn>").format(node.value)
            case ast.Tuple():
                return _mark(",").join(self._expression(item) for item in node.elts)
            case ast.Call():
                return self._call(node)
            case ast.BinOp():
                return self._binary(node)
        return Markup("<mtext>{}</mtext>").format(text)

    def _call(self, node: ast.Call) -> Markup:
        name = ast.unparse(node.func).rpartition(".")[2]
        inner = self._expression(node.args[0])
        if name in SPLITS:
            return inner
        if name == "sqrt":
            return Markup("<msqrt>{}</msqrt>").format(inner)
        return symbol(NAMES.get(name, name)) + _bracketed(inner)

    def _binary(self, node: ast.BinOp) -> Markup:
        left, right = self._expression(node.left), self._expression(node.right)
        match node.op:
            case ast.Div():
                return Markup("<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>").format(left, right)
            case ast.Pow():
                return Markup("<msup><mrow>{}</mrow><mrow>{}</mrow></msup>").format(left, right)
            case ast.Add():
                return left + _mark("+") + right
            case ast.Sub():
                return left + _mark(MINUS) + self._factor(node.right, right)
        mark = _mark("⊙") if self.elementwise and isinstance(node.op, ast.Mult) else THIN
        return self._factor(node.left, left) + mark + self._factor(node.right, right)

    def _factor(self, node: ast.expr, shown: Markup) -> Markup:
        """In brackets where it is a sum, or a product by elements within a matrix product."""
        weak = (ast.Add, ast.Sub, ast.Mult) if self.elementwise else (ast.Add, ast.Sub)
        return _bracketed(shown) if isinstance(node, ast.BinOp) and isinstance(node.op, weak) else shown


def _computes(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp | ast.Call)


def _bracketed(inner: Markup) -> Markup:
    return _mark("(") + inner + _mark(")")


def _mark(text: str) -> Markup:
    if text in OPERATORS:
        return Markup("<mo>{}</mo>").format(text)
    return Markup('<mo stretchy="false" lspace="0" rspace="0">{}</mo>').format(text)


def _is_symbol(parts: list[Markup]) -> bool:
    return bool(parts) and parts[-1].startswith(("<mi", "<msub", "<mn", "<msup"))


def _closed(parts: list[Markup]) -> Markup:
    """What an exponent belongs to: the last symbol, or all of the bracket that it closes."""
    first, depth = len(parts) - 1, 0
    for first in range(len(parts) - 1, -1, -1):
        depth += (">)<" in parts[first]) - (">(<" in parts[first])
        if depth == 0:
            break
    base = Markup("").join(parts[first:])
    del parts[first + 1 :]
    return Markup("<mrow>{}</mrow>").format(base)


def _math(inner: Markup) -> Markup:
    return Markup('<math displaystyle="true">{}</math>').format(inner)
