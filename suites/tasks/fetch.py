"""Real data, by hash: from the folder that UNROLLED_DATA names, or downloaded into a cache.

A data source names one file (``file``, ``url``, ``sha256``), or several (``files``, a
table of SHA-256 by name, below one ``url``); ``encoding`` where it is not UTF-8.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from results.errors import UserError

FOLDER = "UNROLLED_DATA"
KEPT = 12  # characters of its hash in the name of a file that was refused


@dataclass(frozen=True)
class File:
    """One file of a data source."""

    name: str  # its path in the user's folder, and in the cache
    url: str
    sha256: str


def text(options: Mapping[str, Any]) -> str:
    """The one file of a data source as text, lines ending in \\n. Raises UserError, see :func:`texts`."""
    (found,) = texts(options).values()
    return found


def texts(options: Mapping[str, Any]) -> dict[str, str]:
    """The files of a data source by name, as text, lines ending in \\n.

    Raises UserError, see :func:`paths`; also for a file that is empty or in another encoding.
    """
    asked = files(options)
    encoding = str(options.get("encoding", "utf-8"))
    return {file.name: decoded(path, encoding) for file, path in zip(asked, paths(asked), strict=True)}


def files(options: Mapping[str, Any]) -> list[File]:
    """What a data source names. Raises UserError for a key that it lacks."""
    for key in ("url",) if "files" in options else ("file", "url", "sha256"):
        if key not in options:
            raise UserError(f"real data: expected the key {key!r} in the data source, got none.")
    url = str(options["url"])
    if "files" in options:
        return [File(name, url + name, sha256) for name, sha256 in options["files"].items()]
    return [File(str(options["file"]), url, str(options["sha256"]))]


def paths(asked: list[File]) -> list[Path]:
    """Where the files lie, each SHA-256 checked.

    Raises UserError with the address, the hash and what to do, where one cannot be had.
    """
    folder = os.environ.get(FOLDER)
    if folder:
        return _given(asked, Path(folder))
    cache = Path(pooch.os_cache("unrolled"))
    return [_downloaded(file, cache, len(asked) - 1) for file in asked]


def decoded(path: Path, encoding: str) -> str:
    """The file as text, lines ending in \\n. Raises UserError with file, line and rule."""
    content = path.read_bytes()
    if not content:
        raise UserError(f"{path}, line 1: expected text, got an empty file.")
    try:
        found = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: expected text in {encoding.upper()}, got the byte "
            f"0x{content[error.start]:02x} at offset {error.start} ({error.reason})."
        ) from None
    except LookupError:
        raise UserError(f"{path}: expected an encoding that Python knows, got {encoding!r}.") from None
    return found.replace("\r\n", "\n").replace("\r", "\n")


def _given(asked: list[File], folder: Path) -> list[Path]:
    """The files in the user's folder. Raises UserError for one that is missing, empty or another."""
    missing = [file for file in asked if not (folder / file.name).is_file()]
    if missing:
        raise UserError(
            f"{FOLDER}={folder}: expected the file {missing[0].name}, got none{_more(len(missing) - 1)}. "
            f"It is published at {missing[0].url} (SHA-256 {missing[0].sha256})."
        )
    for file in asked:
        path = folder / file.name
        if path.stat().st_size == 0:
            raise UserError(f"{path}, line 1: expected text, got an empty file. Replace it by {file.url}.")
        got = pooch.file_hash(str(path))
        if got != file.sha256:
            raise UserError(f"{path}: expected SHA-256 {file.sha256}, got {got}. Replace it by {file.url}.")
    return [folder / file.name for file in asked]


def _downloaded(file: File, cache: Path, others: int) -> Path:
    """The file in the cache, downloaded unless it is there. Raises UserError."""
    path = cache / file.name

    def download(url: str, output: str, _: Any) -> None:
        with _progress() as progress:
            pooch.HTTPDownloader(progressbar=Bar(progress, file.name))(url, output, None)
        _check(Path(output), file, path)

    try:
        return Path(
            pooch.retrieve(
                file.url, f"sha256:{file.sha256}", fname=path.name, path=path.parent, downloader=download
            )
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not download {file.url} ({type(error).__name__}). Get it where there is a network "
            f"(SHA-256 {file.sha256}), put it at FOLDER/{file.name}{_more(others)}, and set {FOLDER}=FOLDER."
        ) from None


def _check(output: Path, file: File, path: Path) -> None:
    """Raise UserError for a download with another hash, and keep it beside the place that it was for."""
    got = pooch.file_hash(str(output))
    if got == file.sha256:
        return
    aside = path.with_name(f"{path.name}.refused-{got[:KEPT]}")
    shutil.copyfile(output, aside)  # the download itself is pooch's to remove
    raise UserError(
        f"{file.url}: expected a file of SHA-256 {file.sha256}, got {got}. It is not used, but kept as "
        f"{aside}. Try again; if it comes again, what is published there has changed."
    )


def _more(others: int) -> str:
    """The rest of a source's files, in words."""
    return f" (and {others} more of its files likewise)" if others else ""


def _progress() -> Progress:
    """A bar on standard error; nothing where that is no terminal (pooch says there what it downloads)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


class Bar:
    """A progress bar as pooch drives one, drawn by rich.

    See https://www.fatiando.org/pooch/latest/progressbars.html.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress = progress
        self.task = progress.add_task(name, total=None)

    @property
    def total(self) -> float | None:
        """Bytes to come; None until the server says."""
        return self.progress.tasks[self.task].total

    @total.setter
    def total(self, size: int) -> None:
        self.progress.update(self.task, total=size or None)

    def update(self, size: int) -> None:
        """So many bytes more."""
        self.progress.advance(self.task, size)

    def reset(self) -> None:
        """None yet."""
        self.progress.update(self.task, completed=0)

    def close(self) -> None:
        """The display around it is closed by whoever opened it."""
