"""Postgres refuses: is the message set aside, or held, and is a person's text quoted anywhere?"""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from services.logger.handler import Logger
from services.review_ui.tasks.intake import Intake
from shared.clock import utc_now
from shared.errors import Overloaded, Permanent, Retryable, unforeseen
from shared.events.models import Item
from shared.service.log import JsonFormatter
from shared.storage.database import DatabaseError, connect, refusal
from shared.storage.refused_rows import differences
from tests.support.item_events import START, Journey, delivered

SECRET = "Emil lives at 7 Harbour Street"
Write = Callable[[Engine, Journey], object]


def log_it(engine: Engine, journey: Journey) -> object:
    """The logger's answer for an event of the item."""
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    [result] = log.handle([delivered(journey.review_requested())])
    return result


def take_it_in(engine: Engine, journey: Journey) -> object:
    """The review intake's answer for a request for its review."""
    [result] = Intake(engine, utc_now).handle([delivered(journey.review_requested())])
    return result


def secretive(item_id: str = "emil") -> Journey:
    journey = Journey(item_id)
    journey.item = Item(id=item_id, text=SECRET, metadata={}, received_at=START)
    return journey


# What somebody does to the schema, and undoes.
CHANGES = [
    pytest.param(
        "ALTER TABLE {table} ADD COLUMN owner text; ALTER TABLE {table} ALTER owner SET NOT NULL",
        "ALTER TABLE {table} DROP COLUMN owner",
        id="a new column that must not be empty",
    ),
    pytest.param(
        "ALTER TABLE {table} ALTER item_id TYPE integer USING 0",
        "ALTER TABLE {table} ALTER item_id TYPE varchar",
        id="a column of another type",
    ),
    pytest.param(
        "ALTER TABLE {table} ALTER item_id TYPE varchar(2)",
        "ALTER TABLE {table} ALTER item_id TYPE varchar",
        id="a column that holds less",
    ),
    pytest.param(
        "ALTER TABLE {table} ADD CONSTRAINT short CHECK (length(item_id) < 2)",
        "ALTER TABLE {table} DROP CONSTRAINT short",
        id="a constraint",
    ),
    pytest.param(
        "ALTER TABLE {table} RENAME COLUMN item_id TO thing",
        "ALTER TABLE {table} RENAME COLUMN thing TO item_id",
        id="a missing column",
    ),
]


@pytest.mark.parametrize(("change", "undo"), CHANGES)
@pytest.mark.parametrize(("table", "write"), [("event", log_it), ("review_task", take_it_in)])
def test_while_the_schema_is_another_every_message_is_held_and_none_is_blamed(
    engine: Engine, database_url: str, table: str, write: Write, change: str, undo: str
) -> None:
    # Given tables that are not those of this release
    if table == "review_task" and "USING 0" in change:
        change = change.replace("item_id", "traceparent")
        undo = undo.replace("item_id", "traceparent")
    views = "DROP SCHEMA IF EXISTS report CASCADE; DROP VIEW IF EXISTS workflow_log"
    with engine.begin() as connection:
        connection.execute(text(views))
        connection.execute(text(change.format(table=table)))
    own = connect(database_url)
    try:
        # I expect the message to be held, with the reason in words that quote nothing of it,
        with pytest.raises(Overloaded) as held:
            write(own, secretive())
        assert "hitl prepare" in str(held.value)
        assert "Harbour" not in str(held.value)
        # and once the schema is right, the same message to be written.
        with engine.begin() as connection:
            connection.execute(text(undo.format(table=table)))
        own.dispose()
        assert write(own, secretive()) == ()
    finally:
        own.dispose()


def test_the_schema_that_we_make_is_the_one_that_we_expect(engine: Engine) -> None:
    with engine.connect() as connection:
        assert differences(connection) == []


def test_a_value_that_postgres_cannot_store_is_set_aside_and_not_quoted(engine: Engine) -> None:
    # Given a request from elsewhere with a NUL in a person's text / If it is to be a task
    message = delivered(secretive().review_requested())
    message = replace(message, body=message.body.replace(b"7 Harbour", b"7 \\u0000 Harbour"))
    [result] = Intake(engine, utc_now).handle([message])
    # I expect a dead letter that says who refused it, and nothing of the text.
    assert isinstance(result, Permanent)
    assert result.reason == "rejected_by_database"
    assert "SQLSTATE 22P05" in result.detail
    assert "Harbour" not in result.detail


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO reviewer (name, role) VALUES (:secret, 'reader')",  # detail: the failing row
        "SELECT CAST(:secret AS integer)",  # the message itself
        "SELECT CAST(:secret AS timestamptz)",
        "SELECT CAST(:secret AS jsonb)",  # detail and context
        "SELECT chr(0) || :secret",
        "SELECT 1 / length(substr(:secret, 1, 0))",
    ],
)
def test_no_error_of_postgres_quotes_what_it_was_given(
    engine: Engine, database_url: str, statement: str
) -> None:
    own = connect(database_url)
    formatter = JsonFormatter("test")
    # Given a statement that fails of a person's text, by SQLAlchemy and by the driver
    with pytest.raises(DBAPIError) as failed, own.connect() as connection:
        connection.execute(text(statement), {"secret": SECRET})
    with (
        own.connect() as connection,
        closing(connection.connection.cursor()) as cursor,
        pytest.raises(psycopg2.Error, match="SQLSTATE") as driven,
    ):
        cursor.execute(statement.replace(":secret", "%s"), (SECRET,))
    own.dispose()
    # I expect neither the error, nor its traceback in our log, nor what we say of it to quote that.
    errors: list[DatabaseError] = [failed.value, driven.value]
    for error in errors:
        record = logging.LogRecord(
            "test", 40, "", 0, "failed", None, (type(error), error, error.__traceback__)
        )
        for said in (str(error), repr(error), refusal(error), formatter.format(record)):
            assert "Harbour" not in said
            assert "Emil" not in said


def test_what_nobody_has_foreseen_is_named_in_an_event_and_not_quoted() -> None:
    def fails() -> None:
        raise ValueError(f"could not convert {SECRET!r}")

    with pytest.raises(ValueError, match="could not") as failed:
        fails()
    said = str(Retryable(unforeseen(failed.value)))
    assert said.startswith("ValueError at integration/storage/test_refused_rows.py:")
    assert "Emil" not in said
    with pytest.raises(ValueError, match="at least 1 character") as invalid:
        Item.model_validate({"id": "", "text": SECRET, "received_at": SECRET, "more": 1})
    assert "Emil" not in str(invalid.value)
