"""A change of a source's text, as data: mutants of the gate and ablations of ``tuned`` are made of them."""

from __future__ import annotations

from results.errors import UserError


def replaced(source: str, old: str, new: str, name: str, where: str, what_to_do: str) -> str:
    """The source with one text in place of another. Raises UserError where the old one is not in it once."""
    count = source.count(old)
    if count != 1:
        raise UserError(
            f"{name}: expected the text {old!r} once in {where}, got it {count} times. {what_to_do}"
        )
    return source.replace(old, new)
