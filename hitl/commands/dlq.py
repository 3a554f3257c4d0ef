"""`hitl dlq list|show|redrive|purge`: dead letters, why they failed, and what to do with them.

Looking changes nothing. A redrive puts a letter back into the queue that it failed in, with its id,
and takes it from here only once the broker has confirmed it there: a crash in between leaves two
of it, which is harmless, and never none.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hitl.dead_letters.filter import Wanted, age, existing_homes, found_queues
from hitl.dead_letters.queues import DeadLetter, Pass, Verdict
from hitl.dead_letters.text import as_object, describe
from hitl.servers.home import Home
from hitl.support.connection import amqp_url
from hitl.support.progress import progress_bar
from hitl.support.terminal import printable, readable, refuse
from shared.clock import utc_now
from shared.errors import ConfigurationError, Overloaded
from shared.formats.json_lines import appending, line
from shared.messaging.retry import redriven_headers

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What was set aside: look, put back, remove."
)

MAX_REDRIVES = 3  # then only with --force: what failed four times will fail again
InQueue = Annotated[
    str | None, typer.Option("--queue", help="Only this queue, with or without its .dlq.")
]
ForReason = Annotated[str | None, typer.Option("--reason", help="Only with this reason.")]
OlderThan = Annotated[
    timedelta | None,
    typer.Option("--older-than", parser=age, metavar="AGE", help="Only older ones: 30m, 2h, 7d."),
]
OfItem = Annotated[str | None, typer.Option("--item", help="Only of the item with this id.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command("list")
def list_dead_letters(
    queue: InQueue = None,
    as_objects: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """How many letters lie where, why, and since when."""
    table = Table("Queue", "Letters", "Reasons", "Oldest")
    now = utc_now()
    with named_problems():
        for name, count in found_queues(queue).items():
            reasons: Counter[str] = Counter()
            times: list[datetime] = []

            def tally(
                letter: DeadLetter, reasons: Counter[str] = reasons, times: list[datetime] = times
            ) -> Verdict:
                reasons[letter.reason] += 1
                if letter.failed_at is not None:
                    times.append(letter.failed_at)
                return "stay"

            if count:
                Pass(name, tally).run(amqp_url())
            oldest = (now - min(times)).total_seconds() if times else None
            if as_objects:
                row = {"queue": name, "letters": count, "reasons": dict(reasons)}
                print(json.dumps({**row, "oldest_seconds": oldest}))
            elif count:
                why = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
                why = escape(printable(why))  # a letter may bring a reason of its producer's
                table.add_row(name, str(count), why, "?" if oldest is None else readable(oldest))
    if not as_objects:
        Console(highlight=False).print(table if table.rows else "No dead letters.")


@app.command()
def show(
    queue: InQueue = None,
    reason: ForReason = None,
    older_than: OlderThan = None,
    item: OfItem = None,
    limit: Limit = 20,
    as_objects: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The letters themselves, oldest first. They stay where they are."""
    wanted = Wanted(reason, older_than, item, limit)
    console = Console(highlight=False, markup=False)

    def display(letter: DeadLetter) -> Verdict:
        if wanted.full:
            return "enough"
        if wanted.chooses(letter):
            if as_objects:
                print(line(as_object(letter)), end="", flush=True)
            else:
                describe(console, letter, wanted.now)
        return "stay"

    with named_problems():
        for name, count in found_queues(queue).items():
            if count and not wanted.full:
                Pass(name, display).run(amqp_url())
    if not wanted.chosen and not as_objects:
        console.print("No such dead letter.")


@app.command()
def redrive(
    queue: InQueue = None,
    reason: ForReason = None,
    older_than: OlderThan = None,
    item: OfItem = None,
    limit: Limit = None,
    force: Annotated[
        bool, typer.Option(help=f"Also what was put back {MAX_REDRIVES} times before.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Put letters back into the queue they failed in: same id, attempts counted anew, in order."""
    skipped: Counter[str] = Counter()
    homeless: Counter[str] = Counter()

    with named_problems():
        queues = found_queues(queue)
        homes = existing_homes(queues)

        def fit(letter: DeadLetter) -> bool:
            if letter.home not in homes:
                homeless[letter.home] += 1
                return False
            if letter.redrives >= MAX_REDRIVES and not force:
                skipped[letter.queue] += 1
                return False
            return True

        def work(label: str, act: Verdict) -> tuple[int, int]:
            wanted = Wanted(reason, older_than, item, limit)
            skipped.clear()
            homeless.clear()
            return over_all(queues, wanted, label, act, fit=fit)

        count, refused = 0, 0
        if dry_run or not yes:
            count, _ = work("looking", "stay")
        if not dry_run and (yes or (count and agreed(f"Put {count} letters back?"))):
            count, refused = work("putting back", "go back")
    done = "would go back" if dry_run else "put back"
    print(f"{count} letters {done}", file=sys.stderr)
    for name, number in skipped.items():
        again = f"put back {MAX_REDRIVES} times before; --force takes them, too"
        print(f"{number} of {name} stay: {again}", file=sys.stderr)
    for home, number in homeless.items():
        print(f"{number} stay: there is no queue {home}", file=sys.stderr)
    if refused:
        print(f"{refused} stay: their queue takes nothing (is it full?)", file=sys.stderr)
    if homeless or refused:
        raise typer.Exit(1)


@app.command()
def purge(
    queue: InQueue = None,
    reason: ForReason = None,
    older_than: OlderThan = None,
    item: OfItem = None,
    limit: Limit = None,
    everything: Annotated[bool, typer.Option("--all", help="Without any filter.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Where to write them; else a new file in HITL_HOME.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove letters for good, after writing each to a file, whole, one JSON object a line."""
    if not everything and queue is None and not Wanted(reason, older_than, item).filtered:
        refuse("name what to purge (--queue, --reason, --older-than, --item), or say --all")
    file = (
        save or Home.from_environment(os.environ).path / f"purged-{utc_now():%Y%m%dT%H%M%S}.jsonl"
    )
    with named_problems():
        queues = found_queues(queue)

        def work(label: str, act: Verdict, **more: Any) -> int:
            wanted = Wanted(reason, older_than, item, limit)
            return over_all(queues, wanted, label, act, **more)[0]

        count = 0
        if dry_run or not yes:
            count = work("looking", "stay")
        if not dry_run and (yes or (count and agreed(f"Remove {count} letters for good?"))):
            with saving(file) as (keep, flush):
                count = work("removing", "go away", fit=keep, before_acks=flush)
    if dry_run:
        print(f"{count} letters would be removed", file=sys.stderr)
    else:
        where = f", after writing them to {file}" if count else ""
        print(f"{count} letters removed{where}", file=sys.stderr)


def over_all(
    queues: dict[str, int],
    wanted: Wanted,
    label: str,
    act: Verdict,
    *,
    fit: Callable[[DeadLetter], bool] = lambda letter: True,
    before_acks: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Does `act` to every letter that is wanted and fit, with a progress bar; how many left (with
    "stay": would leave), and how many the broker refused."""
    count = refused = 0
    for name, depth in queues.items():
        chosen = 0
        with progress_bar(f"{label} {name}", depth, counted=True) as advance:

            def judge(letter: DeadLetter) -> Verdict:
                nonlocal chosen
                if wanted.full:
                    return "enough"
                advance(1)
                if not wanted.chooses(letter):
                    return "stay"
                if not fit(letter):
                    wanted.chosen -= 1
                    return "stay"
                chosen += 1
                return act

            one = Pass(name, judge, headers=redriven_headers, before_acks=before_acks)
            if depth and not wanted.full:
                one.run(amqp_url())
        count += chosen if act == "stay" else one.gone
        refused += one.refused
    return count, refused


@contextmanager
def named_problems() -> Iterator[None]:
    """Ends the command with one line that says why."""
    try:
        yield
    except (ConfigurationError, Overloaded, OSError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        refuse("stopped; what was put back or removed by then has left", code=130)


@contextmanager
def saving(file: Path) -> Iterator[tuple[Callable[[DeadLetter], bool], Callable[[], None]]]:
    """A function that writes a letter, and one that returns when all written are on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with appending(file, mode=0o600) as output:  # texts of people

        def keep(letter: DeadLetter) -> bool:
            output.write(line(as_object(letter)))
            return True

        def flush() -> None:
            output.flush()
            os.fsync(output.fileno())

        yield keep, flush


def agreed(question: str) -> bool:
    """Asks; no terminal means no."""
    return typer.confirm(question, err=True) if sys.stdin.isatty() else refuse("add --yes")
