"""The verdict on the machine: a quiet one passes, each kind of noise is named, the page is stamped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports import quiet
from reports.__main__ import main
from reports.report import render
from reports.rows import select
from results.record import Record

Keep = Callable[[Path, list[Record]], list[Path]]


def state(make: Any, samples: list[Record]) -> quiet.State:
    (found,) = quiet.states(select([*make.row(passes=2), *samples])[0])
    return found


def test_a_quiet_machine_is_quiet(make: Any) -> None:
    samples = [make.quiet(matmul) for matmul in (1e-3, 1.02e-3, 0.99e-3, 1.01e-3)]
    assert state(make, samples).disturbed == []


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"others": 0.3}, "others used 30.0 % of the cores' time"),
        ({"steal": 0.05}, "a hypervisor took 5.0 % of the cores' time"),
        ({"matmul": 3e-3}, "the reference product varied by 66.7 % (IQR over median)"),
        ({"throttled": 9}, "cores were slowed for heat 2 time(s)"),
    ],
)
def test_each_kind_of_noise_is_named(make: Any, noise: dict[str, Any], words: str) -> None:
    """The first sample is of a quiet moment, and has nothing before it."""
    calm = {"throttled": 7, "others": 0.0, "steal": 0.0}
    first = {"seconds": None, "others": None, "steal": None}
    samples = [make.quiet(**calm | first), make.quiet(**calm | {"seconds": 0.0})]
    samples += [make.quiet(**calm | noise) for _ in range(3)]
    assert state(make, samples).disturbed == [words]


@pytest.mark.parametrize(
    ("slowed", "words"),
    [
        ([], []),
        (None, []),  # the driver does not say
        (["power cap"], []),  # what a small card always is at
        (["power cap", "heat (hardware)"], ["the GPU was slowed: heat (hardware)"]),
    ],
)
def test_a_gpu_that_was_slowed_is_named(make: Any, slowed: list[str] | None, words: list[str]) -> None:
    samples = [make.quiet(gpu={}), make.quiet(gpu={"slowed": slowed}), make.quiet(gpu={})]
    assert state(make, samples).disturbed == words


def test_a_gpu_has_columns_of_its_own(make: Any) -> None:
    watched = [make.quiet(gpu={"temperature_c": celsius, "power_w": None}) for celsius in (41.0, 67.0)]
    rows, _ = select([*make.row(passes=2), *watched, make.quiet(gpu={"slowed": ["power cap"]})])
    (line,) = quiet.table_of(rows).to_dict("records")
    said = (line["GPU, MHz"], line["GPU, °C"], line["GPU, W"], line["GPU slowed by"])
    assert said == ("1980 to 1980", "41 to 67", "120 to 120", "power cap")
    rows, _ = select([*make.row(passes=2), make.quiet()])
    assert not any("GPU" in column for column in quiet.table_of(rows).columns)


def test_shares_count_by_the_time_they_lasted(make: Any) -> None:
    """A busy second in a long campaign is none; a busy hour in a few samples is one."""
    long, short = {"seconds": 99.0}, {"seconds": 1.0}
    assert not state(make, [make.quiet(others=0.0, **long), make.quiet(others=1.0, **short)]).disturbed
    assert state(make, [make.quiet(others=1.0, **long), make.quiet(others=0.0, **short)]).disturbed


def test_what_the_system_does_not_count_condemns_nobody(make: Any) -> None:
    samples = [make.quiet(others=None, steal=None, seconds=None) for _ in range(3)]
    found = state(make, samples)
    assert found.disturbed == []
    assert (found.share("others"), found.share("steal"), found.throttled) == (None, None, None)


def test_campaigns_are_judged_apart(make: Any) -> None:
    records = [*make.row(passes=2), make.bench(7, campaign="other")]
    records += [make.quiet(), make.quiet(others=0.9, campaign="other"), make.quiet(campaign="untimed")]
    found = {item.campaign: bool(item.disturbed) for item in quiet.states(select(records)[0])}
    assert found == {"campaign": False, "other": True}


def test_a_disturbed_campaign_stamps_the_page(make: Any) -> None:
    page = render([*make.row(passes=2), *(make.quiet(others=0.4) for _ in range(3))])
    head = page.splitlines()[2]
    assert head.startswith("**Not publishable: the machine was not quiet.**")
    assert "- campaign campaign: others used 40.0 % of the cores' time." in page
    assert "### Was the machine quiet?" in page


def test_a_quiet_one_does_not(make: Any) -> None:
    page = render([*make.row(passes=2), *(make.quiet() for _ in range(3))])
    assert "Not publishable" not in page
    assert "| campaign   | yes" in page


def test_without_samples_it_is_said_that_nothing_is_known(make: Any) -> None:
    page = render(make.row(passes=2))
    assert "### Was the machine quiet?" not in page
    assert "how quiet it was is not known" in page
    assert quiet.STAMP not in page


def test_names_are_no_markup(make: Any) -> None:
    records = [*make.row(passes=2), make.bench(7, campaign="<b>|x"), make.quiet(others=0.9, campaign="<b>|x")]
    assert "<b>" not in render(records)


def test_no_sample_takes_the_place_of_another(make: Any) -> None:
    rows, left_out = select([*make.row(passes=2), *(make.quiet() for _ in range(4))])
    assert (len(rows[0].quiet), left_out) == (4, 0)


def test_a_noisy_run_is_published_with_its_stamp_and_its_samples(
    make: Any, keep: Keep, tmp_path: Path
) -> None:
    keep(tmp_path / "results" / "records", [*make.row(passes=2), *(make.quiet(others=0.4) for _ in range(3))])
    assert main(["--publish", "first"], tmp_path) == 0
    page = (tmp_path / "reports" / "published" / "first" / "README.md").read_text(encoding="utf-8")
    assert page.splitlines()[2].startswith(quiet.STAMP)
    assert len(list((tmp_path / "results" / "published" / "first").glob("quiet-*.json"))) == 3
    assert main(["--check"], tmp_path) == 0
