"""The tables that are no timings."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest

from reports import tables
from reports.report import render
from reports.rows import select
from results.record import Record


def matrix(records: list[Record], task: str = "adding") -> dict[tuple[str, str], str]:
    """Cells of the task's parity matrix by (implementation, case)."""
    frame = tables.parity_matrices(select(records)[0])[task]
    cases = [name for name in frame.columns if name not in tables.WHO]
    return {(line["implementation"], case): line[case] for line in frame.to_dict("records") for case in cases}


CASE = "lstm/float32"


def test_a_pass_tells_its_worst_ratio(make: Any) -> None:
    assert matrix([make.parity(error=2.5e-15)])["torch", CASE] == "passed (0.25)"


def test_a_failure_tells_level_and_tensor(make: Any) -> None:
    cell = matrix([make.parity("failed", tensor="encoder.0.fwd.W_hh")])["torch", CASE]
    assert cell == r"failed at level 3 (encoder.0.fwd.W\_hh)"


def test_a_failure_that_is_no_level_tells_its_reason(make: Any) -> None:
    record = make.parity("failed", reason="does not build")
    record["body"]["levels"] = []
    assert matrix([record])["torch", CASE] == "failed: does not build"


def test_a_deviation_has_its_link(make: Any) -> None:
    stated = {"id": "torch-gru", "link": "https://a.example/b"}
    assert matrix([make.parity("deviates", deviation=stated)])["torch", CASE] == (
        "deviates ([torch-gru](https://a.example/b))"
    )


def test_a_deviation_without_one_has_its_reason(make: Any) -> None:
    cell = matrix([make.parity("deviates", reason="torch-gru: resets after (https://a.example)")])[
        "torch", CASE
    ]
    assert cell == "deviates: torch-gru: resets after (https&#58;//a.example)"


def test_a_skip_has_its_reason(make: Any) -> None:
    assert matrix([make.parity("skipped", reason="no JAX here")])["torch", CASE] == "skipped: no JAX here"


def test_void_beats_passed(make: Any) -> None:
    records = [make.parity(implementation=name) for name in ("numpy", "jax")] + [make.parity(digest="other")]
    cells = matrix(records)
    assert cells["torch", CASE] == "void: data or weights differ"
    assert cells["numpy", CASE] == "passed (0.1)"


def test_the_horizon_is_said(make: Any) -> None:
    record = make.parity()
    record["body"]["levels"][-1]["status"] = "horizon reached"
    assert matrix([record])["torch", CASE] == "passed (0.1), horizon reached"


def followed(make: Any, *, repeat: dict[str, Any] | None = None, last: float = 0.25, **what: Any) -> Record:
    """A row that was trained four steps of four."""
    body = {key: what.pop(key, value) for key, value in (("steps", 4), ("inside", 4), ("horizon", None))}
    record: Record = make.parity(**what)
    equal = {"steps": 4, "equal": True, "difference": 0.0, "tensor": "", "step": None}
    level = {"level": 5, "name": "trajectory", "of": 4, "losses": [1.0, 0.5, 0.3, last]} | body
    record["body"]["levels"].append(record["body"]["levels"][3] | level | {"repeat": repeat or equal})
    record["body"]["settings"] = {"threads": "2"}
    return record


def steps_told(records: list[Record]) -> dict[str, str]:
    (line,) = tables.trajectories(select(records)[0]).to_dict("records")
    return {str(name): text for name, text in line.items()}


def test_how_far_float32_was_followed_is_said(make: Any) -> None:
    assert matrix([followed(make)])["torch", CASE] == "passed (0.1), >= 4 steps"
    short = followed(make, steps=3, inside=3, horizon=4)
    short["body"]["levels"][-1]["status"] = "horizon reached"
    assert matrix([short])["torch", CASE] == "passed (0.1), 3 of 4 steps"
    assert matrix([followed(make, dtype="float64")])["torch", "lstm/float64"] == "passed (0.1)"


def test_steps_are_those_of_the_row_that_was_followed_least(make: Any) -> None:
    told = steps_told([followed(make), followed(make, cell="gru", steps=3, inside=2, horizon=4)])
    assert (told["rows"], told["steps inside the envelope"]) == ("2", "2 of 4 steps")


def test_what_repeats_is_said(make: Any) -> None:
    told = steps_told([followed(make), followed(make)])
    assert told["twice in a process"] == "bit-equal"
    assert told["in several processes"] == "losses equal, 1 rows, 2 records"
    assert steps_told([followed(make)])["in several processes"] == "one record each"


def test_what_does_not_repeat_in_its_process_is_said(make: Any) -> None:
    unequal = {"steps": 4, "equal": False, "difference": 3e-8, "tensor": "head.W_hq", "step": 2}
    told = steps_told([followed(make), followed(make, cell="gru", repeat=unequal)])
    assert told["twice in a process"] == "1 not: by 3e-08 from step 2 on (adding gru, threads 2)"


def test_two_records_of_different_losses_are_seen(make: Any) -> None:
    told = steps_told([followed(make, last=0.25), followed(make, last=0.2500001)])
    assert told["in several processes"] == "1 not: by 4e-07 from step 4 on (adding lstm, threads 2)"
    assert "from step 4 on" in render([followed(make, last=0.25), followed(make, last=0.2500001)])


def test_records_of_another_source_need_not_be_equal(make: Any) -> None:
    told = steps_told([followed(make, last=0.25), followed(make, last=0.26, source="two")])
    assert told["in several processes"] == "one record each"


def test_without_trajectories_there_is_no_table(make: Any) -> None:
    assert tables.trajectories(select([make.parity()])[0]).empty
    assert "### Training step by step" not in render([make.parity()])


def test_several_rows_of_a_case_show_the_worst(make: Any) -> None:
    passed = [make.parity(size="tiny", error=1e-15), make.parity(size="small", error=4e-15)]
    assert matrix(passed)["torch", CASE] == "passed (0.4); 2 of 2 rows passed"
    failed = make.parity("failed", size="paper")
    assert matrix([*passed, failed])["torch", CASE] == r"failed at level 3 (head.W\_hq); 2 of 3 rows passed"


def test_what_was_not_tried_is_empty(make: Any) -> None:
    cells = matrix([make.parity(), make.parity(implementation="jax", cell="gru")])
    assert cells["torch", "gru/float32"] == "-"


def test_dtypes_and_devices_are_apart(make: Any) -> None:
    records = [make.parity(dtype="float64"), make.parity(), make.parity(device="gpu")]
    frame = tables.parity_matrices(select(records)[0])["adding"]
    assert list(frame["device"]) == ["cpu", "gpu"]
    assert {"lstm/float32", "lstm/float64"} <= set(frame.columns)


def test_a_task_has_a_matrix_of_its_own(make: Any) -> None:
    records = [make.parity(), make.parity("failed", task="tagging", cell="gru")]
    assert list(tables.parity_matrices(select(records)[0])) == ["adding", "tagging"]
    assert matrix(records) == {("torch", "lstm/float32"): "passed (0.1)"}
    assert list(matrix(records, "tagging")) == [("torch", "gru/float32")]


TASKS = ["adding", "caption", "char_lm", "copy_first", "forecast", "names", "sentiment", "seq2seq", "tagging"]


def test_nine_tasks_stay_readable(make: Any) -> None:
    """No table is wider than who it is about, four cells and two dtypes."""
    rows = itertools.product(TASKS, ("rnn", "lstm", "gru", "gru_reset_before"), ("float32", "float64"))
    page = render([make.parity(task=task, cell=cell, dtype=dtype) for task, cell, dtype in rows])
    headings = re.findall("^#### Parity: (.*)$", page, re.MULTILINE)
    assert headings == [task.replace("_", r"\_") for task in TASKS]
    parity = page.split("### Parity\n")[1].split("### Error per level")[0]
    widths = {line.count("|") - 1 for line in parity.splitlines() if line.startswith("|")}
    assert widths == {3 + 4 * 2}


def test_levels_show_the_row_nearest_to_its_tolerance(make: Any) -> None:
    near = make.parity(error=5e-15)
    far = make.parity(cell="gru", error=9e-15)
    for level in far["body"]["levels"]:
        level["tolerance"] = 1e-3
    frame = tables.level_errors(select([near, far])[0])
    assert list(frame["3 gradients"]) == ["5.0e-15 (0.5)"]
    assert list(frame["0 data and weights"]) == ["equal"]


def test_levels_show_failures_and_what_was_not_run(make: Any) -> None:
    failed = make.parity("failed")
    failed["body"]["levels"][3]["error"] = "inf"
    failed["body"]["levels"].append(failed["body"]["levels"][3] | {"level": 4, "name": "optimiser"})
    failed["body"]["levels"][4] |= {"status": "not run", "error": None, "tolerance": None}
    frame = tables.level_errors(select([make.parity(cell="gru"), failed])[0])
    assert list(frame["3 gradients"]) == ["failed: inf (inf)"]
    assert list(frame["4 optimiser"]) == ["not run"]


def test_a_level_that_only_some_tasks_climb_has_its_column(make: Any) -> None:
    decoder = make.parity(task="seq2seq", implementation="jax")
    level = {"level": 7, "name": "decode", "error": 0.0, "tensor": "tokens"}
    decoder["body"]["levels"].append(decoder["body"]["levels"][3] | level)
    frame = tables.level_errors(select([make.parity(), decoder])[0])
    assert list(frame.columns)[-2:] == ["3 gradients", "7 decode"]
    assert list(frame["7 decode"]) == ["equal", "-"]


def test_a_decoding_that_went_astray_is_told(make: Any) -> None:
    record = make.parity("failed")
    record["body"]["levels"][3] |= {"level": 7, "name": "decode", "tensor": "tokens"}
    assert matrix([record])["torch", CASE] == "failed at level 7 (tokens)"


def test_levels_leave_deviations_out(make: Any) -> None:
    assert tables.level_errors(select([make.parity("deviates")])[0]).empty


@pytest.mark.parametrize(
    ("error", "tolerance", "ratio"),
    [
        (1e-15, 1e-14, 0.1),
        (0.0, 0.0, 0.0),
        (1e-15, 0.0, math.inf),
        ("nan", 1e-14, math.inf),
        ("inf", 1e-14, math.inf),
        (None, None, 0.0),
    ],
)
def test_ratio(error: Any, tolerance: Any, ratio: float) -> None:
    found = tables.ratio({"error": error, "tolerance": tolerance})
    assert found == ratio or abs(found - ratio) < 1e-12


def test_memory_is_peak_over_baseline(make: Any) -> None:
    frame = tables.memory(select([make.parity(), make.memory(peak_mib=96.0)])[0])
    assert list(frame["peak over baseline, MiB"]) == ["96.0"]
    assert list(frame["baseline, MiB"]) == ["200.0"]


def test_memory_of_what_did_not_pass_is_not_shown(make: Any) -> None:
    failed = make.record("memory", "error", "killed | by the system", {}, implementation="jax")
    records = [make.parity("failed"), make.memory(), make.parity(implementation="jax"), failed]
    frame = tables.memory(select(records)[0])
    assert sorted(frame["peak over baseline, MiB"]) == [
        r"error: killed \| by the system",
        "unmeasured: parity failed",
    ]


def test_measured_tells_all_that_differs(make: Any) -> None:
    records = [make.parity(), make.parity(cell="gru", dirty=True), make.bench()]
    (line,) = tables.measured(select(records)[0]).to_dict("records")
    assert line["versions"] == "python 3.11.7, torch 1.2.3"
    assert line["uncommitted changes"] == "no; yes"
    assert line["settings read back"] == "threads 2"
    assert line["thread variables"] == r"OMP\_NUM\_THREADS 2"
    assert (line["first record"], line["last record"]) == ("2026-11-20T00:00:01Z", "2026-11-20T00:00:03Z")
    assert line["records"] == "3"
