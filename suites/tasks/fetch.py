"""Real data, by hash: from the folder that UNROLLED_DATA names, or downloaded into a cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch

from results.errors import UserError

FOLDER = "UNROLLED_DATA"


def text(options: Mapping[str, Any]) -> str:
    """The file that a data source names, as text, lines ending in \\n. Raises UserError, see :func:`path`."""
    file = path(options)
    content = file.read_bytes()
    try:
        found = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}, line {line}: expected text in UTF-8, got the byte 0x{content[error.start]:02x} "
            f"at offset {error.start} ({error.reason})."
        ) from None
    return found.replace("\r\n", "\n").replace("\r", "\n")


def path(options: Mapping[str, Any]) -> Path:
    """Where the file lies, its SHA-256 checked.

    Raises UserError with the address, the hash and what to do, where it cannot be had.
    """
    name, url, sha256 = str(options["file"]), str(options["url"]), str(options["sha256"])
    folder = os.environ.get(FOLDER)
    if folder:
        file = Path(folder) / name
        if not file.is_file():
            raise UserError(
                f"{FOLDER}={folder}: expected the file {name}, got none. It is published at {url}."
            )
        if file.stat().st_size == 0:
            raise UserError(f"{file}, line 1: expected text, got an empty file. Replace it by {url}.")
        got: str = pooch.file_hash(str(file))
        if got != sha256:
            raise UserError(f"{file}: expected SHA-256 {sha256}, got {got}. Replace it by {url}.")
        return file
    cache = Path(pooch.os_cache("unrolled"))
    try:
        held: str = pooch.retrieve(
            url, f"sha256:{sha256}", fname=Path(name).name, path=cache / Path(name).parent
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not download {url} ({type(error).__name__}). Get it where there is a network "
            f"(SHA-256 {sha256}), put it at FOLDER/{name} and set {FOLDER}=FOLDER."
        ) from None
    return Path(held)
