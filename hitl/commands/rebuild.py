"""`hitl rebuild`: makes again from the record what was summed up from it.

The rows of `item` and the tasks from `event`; with --queues, first of all, the record itself from
what the queues still hold. Safe while everything runs, and to repeat: docs/operate/backups.md.
"""

from functools import partial
from typing import Annotated

import typer

from hitl.recovery.rebuild_items import Rebuilt, events_counted, rebuild_items
from hitl.recovery.rebuild_queues import copy_queues
from hitl.recovery.rebuild_tasks import rebuild_tasks
from hitl.support.connection import amqp_url
from hitl.support.database import engine, problems_named
from hitl.support.progress import progress_bar

app = typer.Typer(add_completion=False)


@app.command()
def rebuild(
    queues: Annotated[
        bool, typer.Option("--queues", help="Copy what the queues hold to the log's queue, only.")
    ] = False,
) -> None:
    """Make the rows of `item` and the review tasks again from the events.

    After a restore: --queues before the services start; then, once hitl.log is empty, without.
    """
    with problems_named():
        if queues:
            for queue, count in copy_queues(amqp_url(), partial(progress_bar, counted=True)):
                typer.echo(f"{count} messages of {queue} copied to the log's queue")
            typer.echo("Next: start the services; once hitl.log is empty, `hitl rebuild`.")
            return
        with engine() as database:
            with progress_bar("events", events_counted(database), counted=True) as advance:
                items = rebuild_items(database, advance)
            say_items(items)
            tasks = rebuild_tasks(database)
    typer.echo(
        f"tasks: {tasks.closed} closed that the record says are decided,"
        f" {tasks.opened} opened that it says are waiting"
    )
    if tasks.without_text:
        typer.echo(
            f"{tasks.without_text} items wait for a person and their text is gone: send them again",
            err=True,
        )


def say_items(done: Rebuilt) -> None:
    """In words, with what is not as it should be on stderr."""
    typer.echo(
        f"items: {done.items} made again from {done.events} events; {done.added} were missing,"
        f" {done.changed} were different"
    )
    if done.unknown:
        typer.echo(
            f"{done.unknown} events are of a type or version that this release does not know:"
            " they were left out",
            err=True,
        )
