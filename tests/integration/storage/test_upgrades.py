"""Does a database that was worked with survive every step of the schema, up and down?"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.event import listens_for
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.commands.audit import app as audit
from shared.errors import ConfigurationError
from shared.storage.database import connect
from shared.storage.migration import MIGRATION_LOCK, migrate, migration_config
from tests.integration.storage.test_migrations import differences
from tests.support.amqp_client import until
from tests.support.filled_database import fill, fill_answers, log, tables
from tests.support.item_events import Journey

Row = dict[str, object]
Tables = dict[str, list[Row]]
# What a step down may take with it, because the older version has no place for it; and what a step
# changes on purpose. Each says for which rows, and in which columns (none: the whole row).
Rule = tuple[Callable[[Row], bool], tuple[str, ...]]
NOT_KEPT: Mapping[str, Mapping[str, Rule]] = {
    "0003": {
        "review_task": (lambda row: row.get("seeded_for") is not None, ()),
        "review_decision": (lambda row: row.get("seeded") is True, ()),
    },
    "0006": {"review_task": (lambda row: row["blind"] is True, ("uncertainty",))},
    "0008": {"ledger_block": (lambda row: True, ())},
    "0013": {
        "api_token": (lambda row: row["name"] == "limited", ("revoked_at", "workflows")),
    },
    "0014": {"review_decision": (lambda row: True, ("seconds", "idle_seconds"))},
    "0015": {
        "item": (lambda row: True, ("kind", "asked", "ai_answer", "answer")),
        "review_task": (lambda row: row.get("kind") is not None, ()),
        "review_decision": (lambda row: row.get("answer") is not None, ()),
        "known_item": (lambda row: row.get("answer") is not None, ()),
    },
}


def impatient(*arguments: Any, **options: Any) -> Engine:
    """As `connect` makes it, with 300 ms for a lock in the place of 10 s, and for a statement."""
    engine = connect(*arguments, **options)

    @listens_for(engine, "connect")
    def limit(opened: Any, _record: object) -> None:
        with opened.cursor() as cursor:
            cursor.execute("SET lock_timeout = 300; SET statement_timeout = 300")
        opened.commit()

    return engine


def waits_for(connection: Connection, lock: str) -> bool:
    """Whether somebody in this database waits for a lock of this kind."""
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid"
        " WHERE NOT granted AND locktype = :lock AND datname = current_database()"
    )
    return bool(connection.execute(text(query), {"lock": lock}).scalar_one())


def revisions(connection: Connection) -> list[str]:
    """Oldest first."""
    script = ScriptDirectory.from_config(migration_config(connection))
    return [step.revision for step in script.walk_revisions()][::-1]


def step(connection: Connection, revision: str, *, down: bool = False) -> None:
    (command.downgrade if down else command.upgrade)(migration_config(connection), revision)
    connection.commit()


def everything(connection: Connection) -> Tables:
    """All rows of all tables, as Postgres' own JSON."""
    names = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    ).scalars()
    found = {
        name: list(connection.execute(text(f"SELECT to_jsonb(t) FROM {name} t")).scalars())
        for name in names
        if name != "alembic_version"
    }
    connection.commit()
    return found


def assert_kept(before: Tables, after: Tables, *crossed: str) -> None:
    """Both sides of the steps `crossed` have the same rows in the tables and columns of both."""
    for table in sorted(before.keys() & after.keys()):
        rules = [NOT_KEPT[step][table] for step in crossed if table in NOT_KEPT.get(step, {})]
        sides = []
        for rows, others in ((before[table], after[table]), (after[table], before[table])):
            both = rows[0].keys() & others[0].keys() if rows and others else ()
            kept = (_kept(row, both, rules) for row in rows)
            sides.append(sorted(json.dumps(row) for row in kept if row is not None))
        assert sides[0] == sides[1], f"{table} across {crossed}"


def _kept(row: Row, both: Collection[str], rules: Iterable[Rule]) -> list[object] | None:
    """What stays of a row in the columns that `both` sides have; None: the row goes."""
    gone: set[str] = set()
    for lost, columns in rules:
        if lost(row):
            if not columns:
                return None
            gone |= {*columns}
    return [row[name] for name in sorted(both) if name not in gone]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    fill(engine)
    fill_answers(engine)
    assert [name for name, rows in tables(engine).items() if rows == 0] == []
    return engine


def test_what_two_versions_know_survives_every_step_down_and_up_again(filled: Engine) -> None:
    with filled.connect() as connection:
        # Given a database of today with rows in every table,
        steps = revisions(connection)
        newest = here = everything(connection)
        # if I go down step by step, and at each step up to where I was and down again,
        for older, newer in reversed(list(pairwise(steps))):
            step(connection, older, down=True)
            below = everything(connection)
            # I expect all rows that both versions have a place for, with their values;
            assert_kept(here, below, newer)
            step(connection, newer)
            assert_kept(below, everything(connection), newer)
            step(connection, older, down=True)
            assert below.keys() == everything(connection).keys()
            here = below
            if newer == "0013":  # that knows no limit, so that what had one opens nothing
                ended = {row["name"]: row["revoked_at"] is not None for row in here["api_token"]}
                assert ended == {"program": False, "limited": True}
        # and if I then bring the oldest database, with its rows, to today's version step by step,
        for newer in steps[1:]:
            step(connection, newer)
            above = everything(connection)
            assert_kept(here, above, newer)
            here = above
        # today's schema, to the letter, with the record as it was.
        assert differences(connection) == []
    for table in ("event", "reviewer", "outbox", "certificate"):
        shared = set(here[table][0]) - {"text_commitment"}
        old, new = ([{n: row[n] for n in shared} for row in side[table]] for side in (newest, here))
        assert sorted(old, key=str) == sorted(new, key=str)


def test_the_way_back_from_typed_answers_takes_them_and_nothing_of_a_label(
    filled: Engine,
) -> None:
    with filled.connect() as connection:
        # Given rows of labels and of every other kind, in all tables that 0015 gave columns
        newest = everything(connection)
        columns = {
            table: newest[table][0].keys() & {"kind", "asked", "ai_answer", "answer"}
            for table in ("item", "review_task", "review_decision", "known_item")
        }
        for table, names in columns.items():
            for filled_with in (True, False):
                assert [
                    row for row in newest[table] if any(row[n] for n in names) is filled_with
                ], f"{table} with {'typed' if filled_with else 'label'} rows"
        # If I go down by that step and up again
        step(connection, "0014", down=True)
        step(connection, "0015")
        again = everything(connection)
    # I expect what concerns labels unchanged, to the letter,
    for table in newest:
        typed = {
            json.dumps(row, sort_keys=True)
            for row in newest[table]
            if any(row.get(name) for name in columns.get(table, ()))
            or row.get("task_id") in {t["id"] for t in newest["review_task"] if t["kind"]}
        }
        labels = {json.dumps(row, sort_keys=True) for row in newest[table]} - typed
        left = [json.dumps(row, sort_keys=True) for row in again[table]]
        assert labels <= set(left), table
        # and of the others the items, with their short lines: no task, no decision, and no gold
        # item, which would ask for its short line as if it was a label.
        assert len(left) == len(labels) + (len(typed) if table == "item" else 0), table
    assert len(newest["event"]) == len(again["event"]) > 0


def test_todays_programs_go_on_where_an_old_database_was_brought_up(filled: Engine) -> None:
    # Given a database of the first version with its rows, brought up in one go
    with filled.connect() as connection:
        step(connection, revisions(connection)[0], down=True)
        before = everything(connection)
        step(connection, "head")
        for table, rows in before.items():
            assert table == "ledger_block" or len(everything(connection)[table]) == len(rows)
    # If today's logger takes up an item of then and a new one
    old, new = Journey("people"), Journey("new")
    log(filled, old.scored(), old.reviewed("negative", revision=3), new.scored(), new.accepted())
    # I expect both rows right: what was known is known,
    with filled.connect() as connection:
        wanted = text("SELECT id, status FROM workflow_log WHERE id IN ('people', 'new')")
        status = {row.id: row.status for row in connection.execute(wanted)}
    assert status == {"people": "HUMAN_CORRECTED", "new": "AI_ACCEPTED"}
    # and the ledger whole: it says how many events are older than it is.
    url = filled.url.render_as_string(hide_password=False)
    said = CliRunner().invoke(audit, ["verify"], env={"DATABASE_URL": url, "COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    assert f"{len(before['event'])} events are older than the ledger" in said.stdout


def test_a_step_that_fails_leaves_the_database_as_it_was(filled: Engine) -> None:
    # Given an older database in which somebody made a table of the newer version's name
    with filled.connect() as connection:
        older = revisions(connection)[1]
        step(connection, older, down=True)
        connection.execute(text("CREATE TABLE certification_epoch (mine int)"))
        connection.commit()
        before = everything(connection)
        # If it is brought up
        with pytest.raises(Exception, match="already exists"):
            step(connection, "head")
        connection.rollback()
        # I expect it to be what it was, at the version it was.
        assert everything(connection) == before
        version = connection.execute(text("SELECT version_num FROM alembic_version"))
        assert version.scalar_one() == older


def test_the_way_back_is_asked_for_and_waits_for_its_turn_and_for_the_services(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def migrated(*words: str, said: str = "") -> Result:
        url = filled.url.render_as_string(hide_password=False)
        return CliRunner().invoke(app, ["migrate", *words], input=said, env={"DATABASE_URL": url})

    def version() -> str:
        with filled.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version"))
            return str(found.scalar_one())

    # Given a database of today with rows in every table
    with filled.connect() as connection:
        steps = revisions(connection)
        before = everything(connection)
    # If I ask for the revision before the last two and say no / I expect to hear what would go,
    # and nothing done.
    asked = migrated("--to", steps[-3], said="n\n")
    assert asked.exit_code == 1
    assert f"undoes {steps[-1]}" in asked.stdout and f"undoes {steps[-2]}" in asked.stdout
    assert f"undoes {steps[-3]}" not in asked.stdout
    assert version() == steps[-1]
    # If another migration is under way and a service reads the tables, both for longer than a
    # program of ours may usually wait
    monkeypatch.setattr("shared.storage.database.connect", impatient)
    with ThreadPoolExecutor(1) as pool, filled.connect() as other, filled.connect() as service:
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        going = pool.submit(migrated, "--to", steps[-3], "--yes")
        until(partial(waits_for, service, "advisory"), what="its wait for its turn")
        assert not going.done() and version() == steps[-1]
        for table in ("reviewer", "api_token", "review_task", "review_decision", "item"):
            service.execute(text(f"SELECT FROM {table} LIMIT 1"))
        other.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        until(partial(waits_for, other, "relation"), what="its wait for the service")
        assert not going.done()
        service.rollback()
        # I expect it to wait for both, and to arrive.
        done = going.result(20)
    assert done.exit_code == 0, done.output
    assert version() == steps[-3]
    # And up again without a question, with everything that the older one has a place for.
    assert migrated().exit_code == 0
    with filled.connect() as connection:
        assert differences(connection) == []
        assert_kept(before, everything(connection), *steps[-2:])


def test_a_revision_that_nobody_knows_is_refused_in_words(
    engine: Engine, database_url: str
) -> None:
    # Given a database of today / If I ask for what is not there, or for no tables at all
    for revision, words in (("0999", "0999"), ("base", "drop the tables")):
        with pytest.raises(ConfigurationError, match=words):
            migrate(database_url, revision)
    # or a newer release has been at it / I expect it to be said, and nothing done.
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(ConfigurationError, match="the database is at 0999"):
        migrate(database_url)
    with engine.connect() as connection:
        assert differences(connection) == []
