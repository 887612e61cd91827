"""Real data, from a folder of the user's or from a server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from results.errors import UserError
from suites.tasks import fetch

PLAY = b"To be, or not to be\nthat is the question\n" * 500


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with one file in it."""
    (tmp_path / "play.txt").write_bytes(PLAY)
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))
    return tmp_path


def source(content: bytes = PLAY, **keys: Any) -> dict[str, Any]:
    """A data source of one file."""
    return {"file": "play.txt", "url": "https://example.org/play.txt", "sha256": sha256(content)} | keys


def test_a_file_from_the_users_folder(folder: Path) -> None:
    assert fetch.text(source()) == PLAY.decode()


def test_several_files_from_the_users_folder(folder: Path) -> None:
    (folder / "acts").mkdir()
    contents = {"acts/one.txt": b"Enter\r\nthree witches", "acts/two.txt": b"Exeunt"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = {name: sha256(content) for name, content in contents.items()}
    found = fetch.texts({"url": "https://example.org/", "files": files})
    assert found == {"acts/one.txt": "Enter\nthree witches", "acts/two.txt": "Exeunt"}
    files |= {"acts/three.txt": "0" * 64, "acts/four.txt": "0" * 64}
    missing = r"expected the file acts/three.txt, got none \(and 1 more .*https://example.org/acts/three.txt"
    with pytest.raises(UserError, match=missing):
        fetch.texts({"url": "https://example.org/", "files": files})


def test_a_wrong_hash_in_the_users_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"play.txt: expected SHA-256 0000.*got.*example.org"):
        fetch.text(source(sha256="0" * 64))
    assert (folder / "play.txt").read_bytes() == PLAY  # it is the user's


def test_a_missing_file_is_named_with_its_address(folder: Path) -> None:
    with pytest.raises(UserError, match=r"UNROLLED_DATA=.*other.txt.*example.org.*SHA-256 [0-9a-f]{64}"):
        fetch.text(source(file="other.txt"))


@pytest.mark.parametrize("key", ["file", "url", "sha256"])
def test_a_source_that_lacks_a_key_is_refused(key: str) -> None:
    options = source()
    del options[key]
    with pytest.raises(UserError, match=f"expected the key '{key}'"):
        fetch.text(options)


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (b"", "utf-8", "play.txt, line 1: expected text, got an empty file"),
        (b"ol\xe9", "utf-8", "play.txt, line 1: expected text in UTF-8, got the byte 0xe9 at offset 2"),
        (b"a\nb\x81", "cp1252", "play.txt, line 2: expected text in CP1252, got the byte 0x81 at offset 3"),
        (b"a", "utf8000", "play.txt: expected an encoding that Python knows, got 'utf8000'"),
    ],
)
def test_a_file_that_is_no_text_is_named_with_line_and_rule(
    folder: Path, content: bytes, encoding: str, words: str
) -> None:
    (folder / "play.txt").write_bytes(content)
    with pytest.raises(UserError, match=words):
        fetch.text(source(content, encoding=encoding))


def test_an_encoding_of_its_own(folder: Path) -> None:
    (folder / "play.txt").write_bytes(b"ol\xe9 \x85")
    assert fetch.text(source(b"ol\xe9 \x85", encoding="cp1252")) == "olé …"


# from a server


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, says nothing, and breaks off in the middle of what is called torn."""

    def log_message(self, *_: Any) -> None:
        """Nothing: the log would go to standard error."""

    def do_GET(self) -> None:
        if not self.path.endswith("torn.txt"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(PLAY)))
        self.end_headers()
        self.wfile.write(PLAY[: len(PLAY) // 2])
        return None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no folder of the user's."""
    monkeypatch.delenv(fetch.FOLDER, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch.pooch, "os_cache", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The folder that is served."""
    path = tmp_path / "published"
    path.mkdir()
    (path / "play.txt").write_bytes(PLAY)
    return path


@pytest.fixture
def url(published: Path) -> Iterator[str]:
    """The address of a server of this machine."""
    handler = functools.partial(Quiet, directory=str(published))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(cache: Path, published: Path, url: str) -> None:
    options = source(file="plays/play.txt", url=f"{url}play.txt")
    assert fetch.text(options) == PLAY.decode()
    assert (cache / "plays" / "play.txt").read_bytes() == PLAY
    (published / "play.txt").unlink()
    assert fetch.text(options) == PLAY.decode()


def test_several_files_are_downloaded(cache: Path, published: Path, url: str) -> None:
    (published / "acts").mkdir()
    for name in ("one", "two"):
        (published / "acts" / f"{name}.txt").write_bytes(name.encode())
    files = {f"acts/{name}.txt": sha256(name.encode()) for name in ("one", "two")}
    assert fetch.texts({"url": url, "files": files}) == {"acts/one.txt": "one", "acts/two.txt": "two"}
    assert sorted(path.name for path in (cache / "acts").iterdir()) == ["one.txt", "two.txt"]


def test_a_wrong_download_is_refused_kept_aside_and_can_be_tried_again(
    cache: Path, published: Path, url: str
) -> None:
    wrong = PLAY[:-7]
    (published / "play.txt").write_bytes(wrong)
    options, aside = source(url=f"{url}play.txt"), f"play.txt.refused-{sha256(wrong)[:12]}"
    words = f"play.txt: expected a file of SHA-256 {sha256(PLAY)}, got {sha256(wrong)}. .* kept as .*{aside}"
    with pytest.raises(UserError, match=words):
        fetch.text(options)
    assert [path.name for path in cache.iterdir()] == [aside]
    assert (cache / aside).read_bytes() == wrong
    (published / "play.txt").write_bytes(PLAY)
    assert fetch.text(options) == PLAY.decode()
    assert sorted(path.name for path in cache.iterdir()) == ["play.txt", aside]


def test_a_download_that_breaks_off_leaves_nothing(cache: Path, url: str) -> None:
    with pytest.raises(UserError, match=r"could not download .*torn.txt .*SHA-256.*UNROLLED_DATA"):
        fetch.text(source(url=f"{url}torn.txt"))
    assert list(cache.iterdir()) == []


def test_a_file_that_is_not_there(cache: Path, url: str) -> None:
    with pytest.raises(UserError, match=r"could not download .*nowhere.txt \(HTTPError\)"):
        fetch.text(source(url=f"{url}nowhere.txt"))


def test_no_network_and_no_folder(cache: Path) -> None:
    """Nothing listens at port 9 of this machine."""
    address = "http://127.0.0.1:9/"
    with pytest.raises(
        UserError, match=f"could not download {address}play.txt.*{sha256(PLAY)}.*UNROLLED_DATA"
    ):
        fetch.text(source(url=f"{address}play.txt"))
    files = {"one.txt": "0" * 64, "two.txt": "1" * 64}
    with pytest.raises(UserError, match=r"FOLDER/one.txt \(and 1 more of its files likewise\)"):
        fetch.texts({"url": address, "files": files})


def test_progress_is_shown_on_a_terminal(
    cache: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = functools.partial(Console, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(fetch, "Console", terminal)
    fetch.text(source(url=f"{url}play.txt"))
    shown = capsys.readouterr()
    assert "play.txt" in shown.err
    assert "━" in shown.err
    assert "20.5/20.5 kB" in shown.err
    assert shown.out == ""


def test_no_bar_is_drawn_where_there_is_no_terminal(
    cache: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.text(source(url=f"{url}play.txt"))
    shown = capsys.readouterr()
    assert "━" not in shown.err + shown.out
    assert "kB" not in shown.err + shown.out


def test_the_bar_follows_what_pooch_says() -> None:
    with fetch.Progress(disable=True) as progress:
        bar = fetch.Bar(progress, "play.txt")
        (task,) = progress.tasks
        assert bar.total is None  # the size is not known yet
        bar.total = 0  # the server does not say
        assert bar.total is None
        bar.total = 100
        bar.update(30)
        bar.update(40)
        assert (task.description, task.completed, task.total) == ("play.txt", 70, 100)
        bar.reset()
        assert task.completed == 0
        bar.close()
