"""Does a training whose output goes to a file say how far it is?"""

from io import StringIO

from rich.console import Console

from hitl.commands.retrain import PLAIN_SECONDS, plain_lines


def test_a_line_now_and_then_and_at_the_end() -> None:
    # Given a training of 26 seconds that reports every second
    written = StringIO()
    now = 100.0
    show = plain_lines(Console(file=written), lambda: now)
    for step in range(26):
        show(step / 26, f"training, loss {step}")
        now += 1
    show(1.0, "done")
    # I expect the first report, one every ten seconds, and the last
    assert PLAIN_SECONDS == 10.0
    assert written.getvalue().splitlines() == [
        "  0% training, loss 0",
        " 38% training, loss 10",
        " 77% training, loss 20",
        "100% done",
    ]
