"""`hitl dlq list|show|redrive|purge`: lists dead-lettered messages, requeues or removes them.

Listing changes nothing. A redrive publishes a message to the queue that it failed in, under its id,
and removes it here only once the broker has confirmed it there: a crash in between leaves two
copies, which is harmless, and never none.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hitl.dead_letters.filter import Filter, age, existing_homes, found_queues
from hitl.dead_letters.queues import Action, DeadLetter, QueuePass
from hitl.dead_letters.text import as_object, describe
from hitl.servers.home import Home
from hitl.support.connection import amqp_url
from hitl.support.database import errors_as_one_line
from hitl.support.options import AsJsonLines
from hitl.support.progress import progress_bar
from hitl.support.terminal import printable, readable, refuse
from shared.clock import utc_now
from shared.formats.json_lines import appending, line
from shared.messaging.retry import redriven_headers

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List, requeue and remove dead-lettered messages.",
)

MAX_REDRIVES = 3  # then only with --force: a message that failed four times will fail again
InQueue = Annotated[
    str | None, typer.Option("--queue", help="Only this queue, with or without its .dlq.")
]
ForReason = Annotated[str | None, typer.Option("--reason", help="Only this reason.")]
OlderThan = Annotated[
    timedelta | None,
    typer.Option("--older-than", parser=age, metavar="AGE", help="Only older ones: 30m, 2h, 7d."),
]
OfItem = Annotated[str | None, typer.Option("--item", help="Only the item with this id.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]


@app.command("list")
def list_dead_letters(queue: InQueue = None, as_objects: AsJsonLines = False) -> None:
    """Count the messages of each queue by reason, with the age of the oldest."""
    table = Table("Queue", "Messages", "Reasons", "Oldest")
    now = utc_now()
    with errors_in_one_line():
        for name, count in found_queues(queue).items():
            reasons: Counter[str] = Counter()
            times: list[datetime] = []

            def tally(
                message: DeadLetter, reasons: Counter[str] = reasons, times: list[datetime] = times
            ) -> Action:
                reasons[message.reason] += 1
                if message.failed_at is not None:
                    times.append(message.failed_at)
                return "keep"

            if count:
                QueuePass(name, tally).run(amqp_url())
            oldest = (now - min(times)).total_seconds() if times else None
            if as_objects:
                row = {"queue": name, "letters": count, "reasons": dict(reasons)}
                print(json.dumps({**row, "oldest_seconds": oldest}))
            elif count:
                why = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
                why = escape(printable(why))  # a producer may send a reason of its own
                table.add_row(name, str(count), why, "?" if oldest is None else readable(oldest))
    if not as_objects:
        Console(highlight=False).print(table if table.rows else "No dead-lettered messages.")


@app.command()
def show(
    queue: InQueue = None,
    reason: ForReason = None,
    older_than: OlderThan = None,
    item: OfItem = None,
    limit: Limit = 20,
    as_objects: AsJsonLines = False,
) -> None:
    """Print the messages, oldest first. They stay where they are."""
    wanted = Filter(reason, older_than, item, limit)
    console = Console(highlight=False, markup=False)

    def display(message: DeadLetter) -> bool:
        if as_objects:
            print(line(as_object(message)), end="", flush=True)
        else:
            describe(console, message, wanted.now)
        return True

    with errors_in_one_line():
        process(found_queues(queue), wanted, None, "keep", accept=display)
    if not wanted.selected and not as_objects:
        console.print("No such dead-lettered message.")


@app.command()
def redrive(
    queue: InQueue = None,
    reason: ForReason = None,
    older_than: OlderThan = None,
    item: OfItem = None,
    limit: Limit = None,
    force: Annotated[
        bool, typer.Option(help=f"Also messages that were requeued {MAX_REDRIVES} times already.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Requeue messages, in order, where they failed: same id, a new count of attempts."""
    skipped: Counter[str] = Counter()
    homeless: Counter[str] = Counter()

    with errors_in_one_line():
        queues = found_queues(queue)
        homes = existing_homes(queues)

        def may_return(message: DeadLetter) -> bool:
            if message.home not in homes:
                homeless[message.home] += 1
                return False
            if message.redrives >= MAX_REDRIVES and not force:
                skipped[message.queue] += 1
                return False
            return True

        def work(label: str, action: Action) -> tuple[int, int]:
            wanted = Filter(reason, older_than, item, limit)
            skipped.clear()
            homeless.clear()
            return process(queues, wanted, label, action, accept=may_return)

        count, refused = 0, 0
        if dry_run or not yes:
            count, _ = work("reading", "keep")
        if not dry_run and (yes or (count and agreed(f"Requeue {count} messages?"))):
            count, refused = work("requeueing", "requeue")
    print(f"{count} messages {'would be ' if dry_run else ''}requeued", file=sys.stderr)
    for name, number in skipped.items():
        why = f"requeued {MAX_REDRIVES} times already; --force requeues them again"
        print(f"{number} stay in {name}: {why}", file=sys.stderr)
    for home, number in homeless.items():
        print(f"{number} stay: the queue {home} does not exist", file=sys.stderr)
    if refused:
        print(f"{refused} stay: their queue refused them; is it full?", file=sys.stderr)
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
        Path | None, typer.Option(help="The file for them; default: a new one in HITL_HOME.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove messages for good, after writing each to a file, one JSON object a line."""
    if not everything and queue is None and not Filter(reason, older_than, item).filtered:
        refuse("choose messages (--queue, --reason, --older-than, --item), or use --all")
    file = (
        save or Home.from_environment(os.environ).path / f"purged-{utc_now():%Y%m%dT%H%M%S}.jsonl"
    )
    with errors_in_one_line():
        queues = found_queues(queue)
        count = 0
        if dry_run or not yes:
            wanted = Filter(reason, older_than, item, limit)
            count, _ = process(queues, wanted, "reading", "keep")
        if not dry_run and (yes or (count and agreed(f"Remove {count} messages for good?"))):
            wanted = Filter(reason, older_than, item, limit)
            with saving(file) as (write, flush):
                count, _ = process(
                    queues, wanted, "removing", "remove", accept=write, before_acks=flush
                )
    if dry_run:
        print(f"{count} messages would be removed", file=sys.stderr)
    else:
        where = f", after writing them to {file}" if count else ""
        print(f"{count} messages removed{where}", file=sys.stderr)


def process(
    queues: dict[str, int],
    wanted: Filter,
    label: str | None,
    action: Action,
    *,
    accept: Callable[[DeadLetter], bool] = lambda message: True,
    before_acks: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Does `action` to every message that matches and is accepted, with a progress bar if it has a
    label; how many left (with "keep": would leave), and how many the broker refused."""
    gone = refused = 0
    for name, depth in queues.items():
        if not depth or wanted.full:
            continue
        bar: AbstractContextManager[Callable[[int], None]] = nullcontext(lambda done: None)
        if label:
            bar = progress_bar(f"{label} {name}", depth, counted=True)
        with bar as advance:

            def choose(message: DeadLetter, advance: Callable[[int], None] = advance) -> Action:
                if wanted.full:
                    return "stop"
                advance(1)
                if not (wanted.matches(message) and accept(message)):
                    return "keep"
                wanted.selected += 1
                return action

            one = QueuePass(name, choose, headers=redriven_headers, before_acks=before_acks)
            one.run(amqp_url())
        gone += one.gone
        refused += one.refused
    return wanted.selected if action == "keep" else gone, refused


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the command with one line about an error, or about what an interruption leaves."""
    try:
        with errors_as_one_line():
            yield
    except KeyboardInterrupt:
        refuse("stopped; messages requeued or removed by then are gone from here", code=130)


@contextmanager
def saving(file: Path) -> Iterator[tuple[Callable[[DeadLetter], bool], Callable[[], None]]]:
    """A function that writes a message, and one that returns when all written are on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with appending(file, mode=0o600) as output:  # texts of people

        def write(message: DeadLetter) -> bool:
            output.write(line(as_object(message)))
            return True

        def flush() -> None:
            output.flush()
            os.fsync(output.fileno())

        yield write, flush


def agreed(question: str) -> bool:
    """Asks; no terminal means no."""
    return typer.confirm(question, err=True) if sys.stdin.isatty() else refuse("add --yes")
