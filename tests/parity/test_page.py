"""The page *Prove your own layer*: its tasks are the specs' (``test_own_layer.py`` runs its example)."""

from __future__ import annotations

from suites import spec
from suites.recording import ROOT

YES = {True: "yes", False: ""}


def of_spec(name: str) -> list[str]:
    """The line of a task, by its spec."""
    task = spec.load(name)
    model = task.model
    return [
        f"`{name}`",
        ", ".join(f"`{cell}`" for cell in spec.cells(name)),
        *(model.wiring, model.inputs, model.head, model.loss, str(model.layers)),
        *(YES[model.ragged], YES[model.bidirectional], YES[model.dropout > 0], YES[task.training.stateful]),
        task.training.optimiser,
        YES[model.generates],
    ]


def test_the_table_of_tasks_is_that_of_the_specs() -> None:
    page = (ROOT / "suites" / "parity" / "README.md").read_text(encoding="utf-8")
    table = page.partition("| task | cells | wiring |")[2].split("\n\n")[0].splitlines()[2:]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert lines == [of_spec(name) for name in spec.names()]
