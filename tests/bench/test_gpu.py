"""What the driver says, from an nvidia-smi of our own: the lines are of the real one's form."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from results.errors import UserError
from suites.bench import gpu
from suites.bench.quiet import Watch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")

QUIET = "1980, 2619, 31, 76.44, 4, 0x0000000000000001"
HOT = "1155, 2619, 88, 640.10, 4, 0x0000000000000064"

SCRIPT = """#!{python}
import sys
asked = " ".join(sys.argv[1:])
assert "--id={card} " in asked + " ", asked
assert asked.endswith("--format=csv,noheader,nounits"), asked
if "--query-compute-apps" in asked:
    print({apps!r}, end="")
elif "utilization.gpu" in asked:
    print({busy!r})
elif "reasons_counters" in asked:
    print({counted!r}) if {counted!r} else sys.exit("Field is not a valid field to query.")
elif {refuses!r} in asked:
    sys.exit("Field is not a valid field to query.")
else:
    print({line!r})
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return Driver(tmp_path / "nvidia-smi")


class Driver:
    """Writes the stand-in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def says(self, line: str, **said: str) -> None:
        """From now on, of this card alone."""
        usual = {"apps": "", "card": "0", "refuses": "no such field", "busy": "0, 4", "counted": ""}
        text = SCRIPT.format(python=sys.executable, line=line, **usual | said)
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o755)


def test_a_sample_is_read(driver: Driver) -> None:
    driver.says(QUIET)
    assert gpu.sample() == {
        "sm_mhz": 1980,
        "memory_mhz": 2619,
        "temperature_c": 31,
        "power_w": 76.44,
        "memory_used_mib": 4,
        "slowed": [],
    }


def test_what_slows_the_clocks_is_named(driver: Driver) -> None:
    driver.says(HOT)
    assert gpu.sample()["slowed"] == ["power cap", "heat (driver)", "heat (hardware)"]


def test_an_older_driver_is_asked_by_the_older_name(driver: Driver) -> None:
    driver.says(HOT, refuses="clocks_event_reasons")
    assert gpu.sample()["temperature_c"] == 88


def test_what_a_driver_does_not_say_is_unknown(driver: Driver) -> None:
    driver.says("1980, [N/A], 31, [Insufficient Permissions], 4, [Unknown Error]")
    found = gpu.sample()
    assert (found["memory_mhz"], found["power_w"], found["slowed"]) == (None, None, None)


@pytest.mark.parametrize(("visible", "card"), [("1", "1"), ("GPU-5a, 0", "GPU-5a"), ("", "0")])
def test_the_card_is_the_one_that_a_framework_takes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, visible: str, card: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    driver.says(QUIET, card=card)
    assert gpu.sample()["sm_mhz"] == 1980


@pytest.mark.parametrize("busy", ["3, 900", "[N/A], 900", "97, 4"])
def test_a_free_card_is_taken(driver: Driver, busy: str) -> None:
    driver.says(QUIET, busy=busy)
    gpu.check_free()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"apps": "4711, python, 3210\n"}, r"got process 4711, python, 3210\. .*CUDA_VISIBLE_DEVICES"),
        ({"busy": "97, [N/A]"}, r"got kernels in 97 %"),
        ({"busy": "97, 900"}, r"got kernels in 97 % of the last second, of a process that cannot be seen"),
    ],
)
def test_a_card_at_work_for_another_is_refused(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], words: str
) -> None:
    """In a container nvidia-smi lists no process of another."""
    monkeypatch.setattr(gpu, "LEAVES_S", 0.0)
    driver.says(QUIET, **said)
    with pytest.raises(gpu.Busy, match=words):
        gpu.check_free()


def test_a_process_of_ours_is_given_the_time_to_leave(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        driver.says(QUIET)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)  # not that of subprocess
    monkeypatch.setattr(gpu, "time", clock)
    driver.says(QUIET, apps="4711, python, 3210\n")
    gpu.check_free()
    assert looks == [gpu.LOOK_S]


@pytest.mark.parametrize("ask", [gpu.sample, gpu.check_free])
def test_without_a_driver_it_says_what_to_do(driver: Driver, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(UserError, match=r"expected nvidia-smi to answer, got nothing.*--device cpu"):
        ask()


def test_the_watch_asks_only_where_rows_run_on_a_gpu(driver: Driver) -> None:
    driver.says(QUIET)
    assert "gpu" not in Watch(threads=1).sample()
    assert Watch(threads=1, on_gpu=True).sample()["gpu"]["temperature_c"] == 31


def test_what_slowed_it_between_two_samples_is_named_though_it_idles_at_both(driver: Driver) -> None:
    watch = Watch(threads=1, on_gpu=True)
    driver.says(QUIET, counted="700, 0, 5, [N/A]")
    assert watch.of_gpu()["slowed"] == []  # before the first sample it was somebody else's work
    driver.says(QUIET, counted="700, 0, 9, [N/A]")
    assert watch.of_gpu()["slowed"] == ["heat (hardware)"]
    assert watch.of_gpu()["slowed"] == []
    driver.says(HOT, counted="800, 0, 10, [N/A]")
    assert watch.of_gpu()["slowed"] == ["power cap", "heat (driver)", "heat (hardware)"]


def test_a_driver_that_counts_nothing_says_what_is_now(driver: Driver) -> None:
    driver.says(HOT)
    watch = Watch(threads=1, on_gpu=True)
    assert gpu.slowed_so_far() == {}
    assert watch.of_gpu()["slowed"] == watch.of_gpu()["slowed"] == gpu.sample()["slowed"]
