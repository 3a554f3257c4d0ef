"""`hitl rebuild`: rebuilds the rows of `item` and the review tasks from the event log.

With --queues it first completes the log from the messages still in the queues. Safe while
everything runs, and to repeat: docs/operate/backups.md.
"""

from functools import partial
from typing import Annotated

import typer

from hitl.recovery.rebuild_items import events_counted, rebuild_items
from hitl.recovery.rebuild_queues import copy_queues
from hitl.recovery.rebuild_tasks import rebuild_tasks
from hitl.support.connection import amqp_url
from hitl.support.database import engine, errors_as_one_line
from hitl.support.progress import progress_bar

app = typer.Typer(add_completion=False)


@app.command()
def rebuild(
    queues: Annotated[
        bool, typer.Option("--queues", help="Only copy the queues' messages to the log's queue.")
    ] = False,
) -> None:
    """Rebuild the rows of `item` and the review tasks from the events.

    After a restore: with --queues before the services start; then, once hitl.log is empty, without.
    """
    with errors_as_one_line(code=2):
        if queues:
            for queue, count in copy_queues(amqp_url(), partial(progress_bar, counted=True)):
                typer.echo(f"{count} messages of {queue} copied to the log's queue")
            typer.echo("Next: start the services; once hitl.log is empty, `hitl rebuild`.")
            return
        with engine() as database:
            with progress_bar("events", events_counted(database), counted=True) as advance:
                items = rebuild_items(database, advance)
            typer.echo(
                f"items: {items.items} rebuilt from {items.events} events; {items.added} were"
                f" missing, {items.changed} were different"
            )
            if items.unknown:
                typer.echo(
                    f"{items.unknown} events skipped: this release does not know their type or"
                    " version",
                    err=True,
                )
            tasks = rebuild_tasks(database)
    typer.echo(
        f"tasks: {tasks.closed} closed as already decided, {tasks.opened} opened as still waiting"
    )
    if tasks.without_text:
        typer.echo(
            f"{tasks.without_text} items wait for a person and have no text: send them again",
            err=True,
        )
    if tasks.without_asked:
        typer.echo(
            f"{tasks.without_asked} items wait for a person without the candidates or the action"
            " that they are about: send them again under new ids",
            err=True,
        )
