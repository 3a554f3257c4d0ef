"""Does the schema arrive as the models promise, and does the event log stay whole?"""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from shared.storage.database import is_bad_data, is_unavailable, sqlstate
from shared.storage.migration import migrate, migration_config
from shared.storage.tables import Base

ROOT = Path(__file__).parents[3]
ONE_EVENT = text(
    "INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at, source, data)"
    " VALUES (gen_random_uuid(), 'item.scored', 1, 'sentiment', 'a', now(), 'test', '{}')"
)


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, Base.metadata))


def user_tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_models_and_the_migrated_schema_are_the_same(engine: Engine) -> None:
    # Given a migrated database
    with engine.connect() as connection:
        # I expect nothing that Alembic would still have to change,
        assert differences(connection) == []
        # and the same checks, which Alembic does not compare.
        found = {
            (table, check["name"])
            for table in user_tables(connection)
            for check in inspect(connection).get_check_constraints(table)
        }
    declared = {
        (table.name, constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert found == declared


def test_a_status_the_models_know_is_one_the_checks_let_in(engine: Engine) -> None:
    # Given the checks as the models declare them and as Postgres holds them
    with engine.connect() as connection:
        for table in Base.metadata.tables.values():
            held = {
                check["name"]: check["sqltext"]
                for check in inspect(connection).get_check_constraints(table.name)
            }
            for constraint in table.constraints:
                if isinstance(constraint, CheckConstraint):
                    values = str(constraint.sqltext).split("'")[1::2]
                    # I expect the same values in both.
                    assert values == held[str(constraint.name)].split("'")[1::2]


def test_the_schema_goes_up_down_and_up_again(engine: Engine) -> None:
    # Given a migrated database
    with engine.connect() as connection:
        # If I take the schema down
        command.downgrade(migration_config(connection), "base")
        connection.commit()
        # I expect nothing of ours to be left, functions included;
        assert user_tables(connection) == set()
        left = connection.execute(
            text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        )
        assert left.all() == []
        # and if I bring it up again, all of it is back.
        command.upgrade(migration_config(connection), "head")
        connection.commit()
        assert differences(connection) == []


def test_two_programs_may_migrate_at_the_same_time(engine: Engine, database_url: str) -> None:
    # Given a database without the schema
    with engine.connect() as connection:
        command.downgrade(migration_config(connection), "base")
        connection.commit()
    # If four programs start at once and each migrates
    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(migrate, database_url) for _ in range(4)]:
            outcome.result()
    # I expect one schema and no error.
    with engine.connect() as connection:
        assert differences(connection) == []


def test_the_schema_arrives_from_a_folder_with_an_awkward_name(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    # Given a database without the schema and a checkout whose path has blanks, a % and a colon
    with engine.connect() as connection:
        command.downgrade(migration_config(connection), "base")
        connection.commit()
    checkout = tmp_path / "50 %(here)s of: it"
    shutil.copytree(ROOT / "shared", checkout / "shared")
    # If I migrate from there
    program = "import sys; from shared.storage.migration import migrate; migrate(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, database_url], cwd=checkout, check=True)
    # I expect the schema.
    with engine.connect() as connection:
        assert differences(connection) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET item_id = 'b'",
        "DELETE FROM event",
        "TRUNCATE event",
        "TRUNCATE event, item CASCADE",
    ],
)
def test_what_is_in_the_event_log_stays(engine: Engine, statement: str) -> None:
    # Given one event
    with engine.begin() as connection:
        connection.execute(ONE_EVENT)
    # If anybody tries to change or remove it
    with (
        pytest.raises(DBAPIError, match=r"append-only: \w+ refused") as refused,
        engine.begin() as c,
    ):
        c.execute(text(statement))
    # I expect a refusal that says so, that no program takes for a pause of the database,
    assert is_bad_data(refused.value)
    assert not is_unavailable(refused.value)
    # and the event as it was.
    with engine.connect() as connection:
        assert connection.execute(text("SELECT item_id FROM event")).scalars().all() == ["a"]


def test_a_table_that_is_not_there_yet_is_a_reason_to_wait(engine: Engine) -> None:
    # Given a program that starts before the migration
    with engine.connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.execute(text("SELECT * FROM not_there_yet"))
    # I expect it to wait, and to blame no row.
    assert sqlstate(refused.value) == "42P01"
    assert is_unavailable(refused.value)
    assert not is_bad_data(refused.value)
