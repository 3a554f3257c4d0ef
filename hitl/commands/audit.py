"""`hitl audit verify|export|head|erase|quotes`: checks, exports and redacts the ledger.

What is promised, what is not and how to anchor: docs/build/ledger.md.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hitl.dead_letters.filter import found_queues
from hitl.ledger import records
from hitl.ledger.check import Checker, Event
from hitl.ledger.erase import Erasure, erase_text, forget_samples
from hitl.ledger.quotes import find_quotes, quoting_dead_letters, redact
from hitl.ledger.records import Record
from hitl.ledger.texts import wrong_texts
from hitl.servers.home import user_name
from hitl.support.connection import amqp_url
from hitl.support.database import engine, errors_as_one_line, transaction
from hitl.support.options import WorkflowName
from hitl.support.progress import progress_bar
from shared.clock import utc_now
from shared.errors import HitlError
from shared.formats.json_lines import append, lines_of, whole_lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The ledger of decisions: check, export, anchor.",
)

FINDINGS_SHOWN = 20
By = Annotated[
    str | None, typer.Option(help="Recorded as the author; default: the system user's name.")
]


@app.command()
def verify(
    from_export: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Instead of the database.")
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Blocks saved by `head --anchor`."),
    ] = None,
) -> None:
    """Check every event, block and, in the database, text. Exit code 1 if one was altered.

    Only anchors can show that the newest blocks were cut off together with their events.
    """
    with errors_as_one_line(code=2):
        checker = Checker(read_anchors(anchors) if anchors else {})
        texts: list[str] = []
        items = 0
        if from_export is not None:
            with progress_bar("checking", from_export.stat().st_size, every=1_000) as advance:
                check(checker, records.from_export(from_export, advance))
        else:
            with engine() as database, records.snapshot(database) as connection:
                with progress_bar("checking", records.counted(connection), every=1_000) as advance:
                    check(checker, records.from_database(connection), advance)
                with progress_bar("checking texts", None, every=1_000) as advance:
                    for wrong in wrong_texts(connection):
                        items += 1
                        advance(1)
                        if wrong is not None and len(texts) < FINDINGS_SHOWN:
                            texts.append(wrong)
        findings = [finding.what for finding in checker.finish()] + texts
    if findings:
        report(findings)
        raise typer.Exit(1)
    if checker.head is None:
        raise AssertionError("a ledger without a head is a finding")
    block = checker.head.block
    typer.echo(
        f"whole: {checker.events - checker.uncovered} events in {block.height} blocks"
        + (f", {items} texts" if from_export is None else "")
        + f"; head {checker.head.block_hash.hex()}"
    )
    if checker.redacted:
        typer.echo(
            f"{checker.redacted} failures were redacted, as events record; see docs/build/ledger.md"
        )
    if checker.uncovered:
        typer.echo(
            f"{checker.uncovered} events are older than the ledger: it covers only their number"
        )


@app.command()
def export(
    file: Annotated[
        Path, typer.Argument(dir_okay=False, help="JSON Lines; compressed if it ends in .gz.")
    ],
) -> None:
    """Write a file for `verify --from-export`. It contains no person's text."""
    with errors_as_one_line(code=2), engine() as database, records.snapshot(database) as connection:
        events = 0
        with progress_bar("exporting", records.counted(connection), every=1_000) as advance:
            for record in records.export(records.from_database(connection), file):
                if isinstance(record, Event):
                    events += 1
                    advance(1)
    typer.echo(f"{events} events exported to {file}")


@app.command()
def head(
    anchor: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Also append it to this file.")
    ] = None,
) -> None:
    """Print the newest block: keep it where no writer of the database can change it."""
    with transaction() as session:
        block = records.head(session.connection())
    typer.echo(json.dumps(block))
    if anchor is not None:
        with errors_as_one_line(code=2):
            append(anchor, block)


@app.command()
def erase(
    item: Annotated[str, typer.Argument(help="The item's id.")],
    reason: Annotated[str, typer.Option(help="Stays in the log for ever: do not name a person.")],
    workflow: WorkflowName = "sentiment",
    by: By = None,
) -> None:
    """Erase an item's text, metadata and notes for good; what was decided about it stays."""
    with transaction() as session:
        wanted = Erasure(workflow, item, by or user_name(), reason, utc_now())
        undecided = erase_text(session, wanted)
    with transaction() as session:
        forget_samples(session)
    typer.echo(f"the text of {item} is erased; the log records it")
    if undecided:
        typer.echo("It is not decided yet and may be in a queue: erase it again once it is.")


@app.command()
def quotes(
    erase: Annotated[bool, typer.Option("--erase", help="Redact them for good.")] = False,
    reason: Annotated[
        str, typer.Option(help="Stays in the log for ever: do not name a person.")
    ] = "an error quoted a person's text",
    by: By = None,
) -> None:
    """Find failures whose error quotes a person's text, as earlier releases wrote them: in the log,
    and in headers of dead-lettered messages. Exit code 1 while there are any.

    With --erase these errors are redacted, and the ledger stays whole: an event records which rows
    changed. That needs the owner of the tables, and blocks the loggers while it runs.
    """
    with transaction() as session:
        found = find_quotes(session)
        for quote in found[:FINDINGS_SHOWN]:
            typer.echo(f"item {quote.item_id!r} of {quote.workflow}, failed at {quote.queue}")
        if found and erase:
            redact(session, found, by=by or user_name(), reason=reason, at=utc_now())
    if found and erase:
        with transaction() as session:
            forget_samples(session)
    done = "erased" if erase else "found"
    typer.echo(f"{len(found)} failures in the log {done}")
    with errors_as_one_line(code=2):
        dead_letters = quoting_dead_letters(amqp_url(), found_queues(None), erase=erase)
    for queue, count in dead_letters.items():
        typer.echo(
            f"{count} dead-lettered messages of {queue} {done}"
            " (only the error: a message keeps its own text)"
        )
    if (found or dead_letters) and not erase:
        raise typer.Exit(1)


def check(
    checker: Checker, found: Iterator[Record], advance: Callable[[int], None] | None = None
) -> None:
    """Gives all records to the checker; `advance` is called for each event."""
    for record in found:
        if isinstance(record, Event):
            checker.event(record)
            if advance is not None:
                advance(1)
        else:
            checker.block(record)


def read_anchors(file: Path) -> dict[int, bytes]:
    """Height → hash.

    Raises:
        HitlError: a line is not an anchor, or two of them contradict each other.
    """
    found: dict[int, bytes] = {}
    for number, line in whole_lines(lines_of(file.read_bytes()), str(file)):
        try:
            given = json.loads(line)
            height, block_hash = int(given["height"]), bytes.fromhex(given["block_hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise HitlError(f"{file}, line {number}: no anchor") from error
        if found.setdefault(height, block_hash) != block_hash:
            raise HitlError(f"{file}, line {number}: another hash of block {height} than before")
    return found


def report(findings: list[str]) -> None:
    """Prints the findings, the first by itself."""
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    errors.print(f"NOT WHOLE. First: {findings[0]}")
    for finding in findings[1:FINDINGS_SHOWN]:
        errors.print(f"  then: {finding}")
    if len(findings) > FINDINGS_SHOWN:
        errors.print(f"  and {len(findings) - FINDINGS_SHOWN} more")
