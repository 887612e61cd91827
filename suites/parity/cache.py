"""What the sessions keep: how far the oracle's float32 training strays, and what a framework compiled.

The first is the dearest thing that is asked of the oracle, and every framework's session asks it
anew. An answer is kept in ``.cache/parity``, a file per question, under a key of all that it
depends on; a file that is damaged, edited or of another key is measured again. What is
compared with, the oracle's float64 answers, is never kept. The folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from suites import implementations, recording
from suites.implementations import Folder
from suites.parity import digests
from suites.parity.fixtures import Fixture
from suites.spec import fingerprint

FOLDER = recording.ROOT / ".cache" / "parity"
COMPILED = recording.ROOT / ".cache" / "compiled"


def keep_compiled(folder: Folder, device: str) -> None:
    """Have the framework keep what it compiles, apart for each machine, for its code is for one processor.

    Under which key is the framework's to say. What is timed never reads this, for it says how long a
    first step takes.
    """
    machine = recording.origin(folder, device)["hardware_hash"]
    implementations.keep_compiled(folder, COMPILED / folder.name / machine)


def kept(fixture: Fixture, measure: Callable[[], Any]) -> Any:
    """What ``measure`` returns, plain JSON: from the fixture's file, where that is whole and of this key."""
    path, wanted = file(fixture), key(fixture)
    found = _read(path, wanted)
    if found is None:
        found = measure()
        with suppress(OSError):  # a folder that cannot be written to costs time only
            _write(path, wanted, found)
    return found


def key(fixture: Fixture) -> str:
    """SHA-256 of the question, the sources of suites/ and of the oracle, its versions and the hardware."""
    origin = recording.origin(implementations.find("numpy"), "cpu")
    parts = [fingerprint(fixture.task), fixture.digest()]
    parts += [origin[part] for part in ("source", "versions", "hardware_hash")]
    return _sha256(parts)


def file(fixture: Fixture) -> Path:
    """Where the fixture's measurements are kept; the next source, say, overwrites them."""
    task = fixture.task
    return FOLDER / f"{task.name}-{task.model.cell}-{_sha256(digests.key(fixture))[:12]}.json"


def _read(path: Path, wanted: str) -> Any:
    """What a whole file of this key holds, else None."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("key") != wanted:
        return None
    found = content.get("measured")
    return found if content.get("digest") == _sha256(found) else None


def _write(path: Path, wanted: str, found: Any) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        content = {"key": wanted, "digest": _sha256(found), "measured": found}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(value: Any) -> str:
    """Of the value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
