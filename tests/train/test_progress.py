"""A bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from suites.train.progress import Bar, Lines, progress


def shown(*, terminal: bool) -> str:
    """What two evaluations and some steps look like."""
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    with progress(console, 40) as bar:
        bar.evaluated(0, "held-out nats 2.5")
        bar.stepped(20, 1.23456)
        bar.evaluated(20, "held-out nats 1.5 [of 3]")
        bar.stepped(40, 0.5)
        bar.evaluated(40, "held-out nats 1.25")
    return out.getvalue()


def test_a_terminal_has_a_bar_with_all_it_should_tell() -> None:
    text = shown(terminal=True)
    for word in ("step 40/40", "━", "loss 0.5", "held-out nats 1.25", "0:00:00 left"):
        assert word in text
    assert "step 20: held-out nats 1.5 [of 3]" in text  # stays above the bar, its brackets no markup
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back


def test_elsewhere_each_evaluation_is_a_plain_line() -> None:
    first, second, third = shown(terminal=False).splitlines()
    assert first == "[0/40  0:00]  loss -  held-out nats 2.5"
    assert second == "[20/40  0:00, 0:00 left]  loss 1.235  held-out nats 1.5 [of 3]"
    assert third == "[40/40  0:00]  loss 0.5  held-out nats 1.25"


def test_the_choice_follows_the_console() -> None:
    assert isinstance(progress(Console(file=StringIO(), force_terminal=True), 1), Bar)
    assert isinstance(progress(Console(file=StringIO()), 1), Lines)
