"""The character language model's text, its chunks, and what is known of its entropy."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from results.errors import UserError
from suites import spec, tasks
from suites.tasks import fetch
from suites.tasks.char_lm import data


def test_targets_are_the_inputs_one_on_and_chunks_follow() -> None:
    task = spec.load("char_lm")
    first, second = islice(tasks.batches(task, 0), 2)
    assert first.inputs.dtype == first.targets.dtype == np.int32
    assert (first.inputs[:, 1:] == first.targets[:, :-1]).all()
    assert (second.inputs[:, 0] == first.targets[:, -1]).all()


def test_the_text_comes_round_again() -> None:
    task = spec.load("char_lm")
    chunks = (task.data.options["characters"] - 1) // task.batch // task.length
    stream = islice(tasks.batches(task, 0), chunks + 1)
    first = next(stream)
    *_, again = stream
    assert (first.inputs == again.inputs).all()


def test_transitions_are_a_law_of_probability() -> None:
    P = data.transitions(13, 2, 8)
    assert P.shape == (169, 13)
    assert (P > 0).all()
    assert abs(P.sum(axis=1) - 1).max() < 1e-12


def test_the_stationary_law_stands_still() -> None:
    P = data.transitions(13, 2, 8)
    pi = data.stationary(P)
    after = np.zeros_like(pi)
    for s, share in enumerate(pi):
        for token, p in enumerate(P[s]):
            after[(s * 13 + token) % 169] += share * p
    assert abs(after - pi).max() < 1e-12
    assert abs(pi.sum() - 1) < 1e-12


def test_the_entropy_rate_of_a_known_source() -> None:
    """A two-state chain by hand: pi = (5/6, 1/6), rate = 5/6 H(.1) + 1/6 H(.5)."""
    P = np.array([[0.9, 0.1], [0.5, 0.5]])
    pi = data.stationary(P)
    assert abs(pi - [5 / 6, 1 / 6]).max() < 1e-12
    h = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.1, 0.5)]
    rate = sum(share * data._entropy(row) for share, row in zip(pi, P, strict=True))
    assert abs(rate - (5 * h[0] + h[1]) / 6) < 1e-12


def test_the_text_follows_its_source() -> None:
    """The text's own cross-entropy under the source is the entropy rate, within sampling error."""
    task = spec.load("char_lm")
    text = data.tokens(task, 0).tolist()
    P = data.transitions(13, 2, 8)
    losses = [-np.log(P[a * 13 + b, c]) for a, b, c in zip(text, text[1:], text[2:], strict=False)]
    facts = tasks.facts(task)
    # 200 000 draws with a standard deviation of about 1.1: four standard errors are 0.01
    assert abs(np.mean(losses) - facts.optimum) < 0.01
    counts = np.array(list(Counter(text).values())) / len(text)
    assert abs(-(counts * np.log(counts)).sum() - facts.baseline) < 0.01
    assert facts.optimum < facts.baseline < np.log(13)


def test_a_text_too_short_is_refused() -> None:
    task = spec.load("char_lm", size="small", length=65536)
    with pytest.raises(UserError, match="expected more than 2097152 characters"):
        next(tasks.batches(task, 0))


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    content = b"To be, or not to be"
    (tmp_path / "play.txt").write_bytes(content)
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))
    sha256 = hashlib.sha256(content).hexdigest()
    return {"file": "play.txt", "url": "https://example.org/play.txt", "sha256": sha256}


def test_a_file_from_the_users_folder(text_file: dict[str, str]) -> None:
    assert fetch.text(text_file) == "To be, or not to be"


def test_a_wrong_hash_is_refused(text_file: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"play.txt: expected SHA-256 0000.*got.*example.org"):
        fetch.text(text_file | {"sha256": "0" * 64})


def test_a_missing_file_is_named_with_its_address(text_file: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"UNROLLED_DATA=.*other.txt.*example.org"):
        fetch.text(text_file | {"file": "other.txt"})


def test_no_network_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fetch.FOLDER, raising=False)
    monkeypatch.setattr(fetch.pooch, "os_cache", lambda name: tmp_path)
    options = {"file": "a/play.txt", "url": "http://127.0.0.1:9/play.txt", "sha256": "0" * 64}
    with pytest.raises(
        UserError, match=r"could not download http://127.0.0.1:9/play.txt.*SHA-256 0000.*UNROLLED_DATA"
    ):
        fetch.text(options)


def test_text_in_another_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "é".encode("latin-1")
    (tmp_path / "play.txt").write_bytes(content)
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))
    options = {
        "file": "play.txt",
        "url": "https://example.org",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with pytest.raises(UserError, match=r"play.txt: expected text in UTF-8"):
        fetch.text(options)
