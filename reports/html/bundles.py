"""What the page carries along to ask no network: DataTables (by itables) and Vega (by vl-convert)."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import itables.options
import vl_convert

EXPORT = re.compile(r"\bexport\s*\{(?P<names>[^{}]*)\}\s*;?")
# "<script" and "<!--" inside a script change how a parser reads its end; in a string "\x3C" is the same.
TRAP = re.compile(r"<(?=!--|/?script)", re.IGNORECASE)


@functools.cache
def tables() -> tuple[str, str]:
    """DataTables as (script, styles). The script sets ``DataTable`` and ``followScheme`` on ``window``.

    Raises RuntimeError where the bundle of itables exports neither.
    """
    bundle = Path(itables.options.dt_bundle)
    source = _clean(bundle.read_text(encoding="utf-8"))
    found = list(EXPORT.finditer(source))
    last = found[-1] if found else None
    pairs = re.findall(r"([\w$]+) as ([\w$]+)", last["names"]) if last else []
    names = {exported: local for local, exported in pairs}
    if last is None or not {"default", "set_or_remove_dark_class"} <= names.keys():
        raise RuntimeError(
            f"{bundle.name} of itables exports {sorted(names)}: expected DataTables as default"
        )
    given = f"window.DataTable={names['default']};window.followScheme={names['set_or_remove_dark_class']};"
    script = source[: last.start()] + given + source[last.end() :]
    return script, bundle.with_suffix(".css").read_text(encoding="utf-8").replace("</", "<\\/")


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets ``vegaEmbed`` on ``window``."""
    return _clean(str(vl_convert.javascript_bundle()))  # type: ignore[call-arg]  # the stub asks for a snippet


def island(value: Any) -> str:
    """JSON that can stand in a ``<script type="application/json">``: no text in it ends the element."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(script: str) -> str:
    """The source expression by which a Content-Security-Policy allows just this script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _clean(source: str) -> str:
    """The script as a parser of HTML will hand it on, so that its hash is that of what runs."""
    return TRAP.sub(r"\\x3C", source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))
