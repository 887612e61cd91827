"""The one error that a user is meant to read.

Every entry point catches :class:`UserError`, prints its text and exits
non-zero; any other exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend: says expected, got, where, and what to do."""


def unknown(what: str, name: str, valid: Iterable[str]) -> UserError:
    """Build the error for a name that does not exist, with the nearest one that does."""
    names = sorted(valid)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {what} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
