"""Does each role in Postgres get at what its program needs, and at nothing else?"""

import json
import re
from collections.abc import Iterator

import psycopg2
import pytest
import yaml
from psycopg2 import sql
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from deploy.grafana.source.__main__ import RECORDS, written_records
from hitl.__main__ import app
from hitl.access.database_roles import RIGHTS, set_rights, url_of
from services.feedback.reports import reviewed
from services.feedback.training import labelled_texts
from shared.storage.database import connect
from shared.storage.migration import migrate
from shared.storage.tables import Base
from tests.conftest import Postgres

PASSWORD = "one for all"
RELOAD = sql.Composed([sql.SQL("SELECT pg_reload_conf()")])
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

# Written down once more, by hand: who may change which table. Nobody else may.
WRITERS = {
    "event": {"hitl_logger": {"INSERT"}},
    "ledger_block": {"hitl_logger": {"INSERT"}},
    "item": {"hitl_logger": {"INSERT", "UPDATE"}},
    "review_task": {"hitl_review_ui": {"INSERT", "UPDATE"}},
    "review_decision": {"hitl_review_ui": {"INSERT", "UPDATE"}},
    "highlight": {"hitl_review_ui": {"INSERT", "UPDATE"}},
    "outbox": {"hitl_review_ui": {"INSERT", "UPDATE", "DELETE"}},
    "webhook": {"hitl_review_ui": {"INSERT", "UPDATE", "DELETE"}},
    "webhook_delivery": {"hitl_review_ui": {"INSERT", "UPDATE", "DELETE"}},
    "certificate": {"hitl_feedback": {"INSERT"}},
    "certification_epoch": {"hitl_feedback": {"INSERT", "UPDATE"}},
}
# All that has no text of an item and no word about a person's reasons.
WITHOUT_TEXT = {"item", "review_task", "review_decision", "certificate", "ledger_block"}


@pytest.fixture(scope="module")
def url(module_database_url: str) -> str:
    set_rights(module_database_url, dict.fromkeys(RIGHTS, PASSWORD))
    return module_database_url


@pytest.fixture(scope="module")
def owner(url: str) -> Iterator[Engine]:
    engine = connect(url, pool_size=2)
    yield engine
    engine.dispose()


def as_role(url: str, role: str, statement: str) -> str | None:
    """Why a role may not do this; None where it may. Nothing stays done."""
    connection = psycopg2.connect(url_of(url, role, PASSWORD))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.errors.InsufficientPrivilege as error:
        return str(error).splitlines()[0]
    finally:
        connection.close()
    return None


def test_a_role_may_change_only_the_tables_of_its_program(owner: Engine) -> None:
    # Given every table, also that which Alembic keeps / I expect the rights that are listed above,
    # and no role that may empty one or hang a trigger on it
    query = text(
        "SELECT has_table_privilege(:role, :table, :verb)"
        " OR (:verb = 'SELECT' AND has_any_column_privilege(:role, :table, 'SELECT'))"
    )
    tables = [*Base.metadata.tables, "alembic_version", "workflow_log"]
    with owner.connect() as connection:
        for table in tables:
            for role in RIGHTS:
                asked = [{"role": role, "table": table, "verb": verb} for verb in VERBS]
                may = {a["verb"] for a in asked if connection.scalar(query, a)} - {"SELECT"}
                assert may == WRITERS.get(table, {}).get(role, set()), (role, table)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("hitl_logger", "UPDATE event SET source = 'x'"),
        ("hitl_logger", "DELETE FROM event"),
        ("hitl_logger", "TRUNCATE event"),
        ("hitl_logger", "ALTER TABLE event DISABLE TRIGGER ALL"),
        ("hitl_logger", "DELETE FROM ledger_block"),
        ("hitl_logger", "SELECT password_hash FROM reviewer"),
        ("hitl_review_ui", "INSERT INTO event (type) VALUES ('item.reviewed')"),
        ("hitl_review_ui", "UPDATE item SET text = ''"),
        ("hitl_review_ui", "UPDATE reviewer SET role = 'admin'"),
        ("hitl_review_ui", "INSERT INTO reviewer (name, role, password_hash) VALUES ('', '', '')"),
        ("hitl_review_ui", "UPDATE api_token SET scopes = '[]', expires_at = NULL"),
        ("hitl_review_ui", "SELECT * FROM certificate"),
        ("hitl_feedback", "UPDATE certificate SET threshold = 0"),
        ("hitl_feedback", "SELECT password_hash FROM reviewer"),
        ("hitl_feedback", "SELECT secret FROM webhook"),
        ("hitl_grafana", "SELECT text FROM item"),
        ("hitl_grafana", "SELECT input_text FROM workflow_log"),
        ("hitl_grafana", "INSERT INTO report.item (id) VALUES ('x')"),
        ("hitl_exporter", "SELECT 1 FROM item"),
        *((role, "CREATE TABLE mine ()") for role in RIGHTS),
        *((role, "CREATE TABLE report.mine ()") for role in RIGHTS),
        *((role, "SET ROLE hitl_logger") for role in RIGHTS if role != "hitl_logger"),
    ],
)  # fmt: skip
def test_what_would_change_the_record_or_give_more_rights_is_refused(
    url: str, role: str, statement: str
) -> None:
    why = as_role(url, role, statement)
    assert why is not None and re.search("permission denied|must be owner", why)


def test_grafana_sees_figures_and_no_texts(url: str, owner: Engine) -> None:
    # Given the views of the schema `report` / I expect Grafana to read each of them, and that none
    # has a column which could hold what somebody wrote
    with owner.connect() as connection:
        columns = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = 'report'"
            )
        ).all()
    assert {table for table, _ in columns} == WITHOUT_TEXT
    for table in WITHOUT_TEXT:
        assert as_role(url, "hitl_grafana", f"SELECT * FROM report.{table}") is None
    found = {column for _, column in columns}
    assert not found & {"text", "metadata", "item", "prediction", "note", "reason", "text_salts"}


def test_the_dashboard_of_records_is_that_of_its_source_and_needs_no_other_right(url: str) -> None:
    # Given the dashboard that asks Postgres / I expect the file that its source writes, on the
    # provisioned datasource,
    assert RECORDS.read_text() == written_records()
    provisioned = RECORDS.parents[2] / "provisioning" / "datasources" / "postgres.yml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    assert source["user"] == "hitl_grafana"
    panels = json.loads(RECORDS.read_text())["panels"]
    assert len(panels) > 5
    for panel in panels:
        (target,) = panel["targets"]
        assert target["datasource"] == {"type": source["type"], "uid": source["uid"]}
        # and every query to be answered, as Grafana fills it in
        query = target["rawSql"].replace("${item:sqlstring}", "'x'")
        query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN 'yesterday' AND 'now'", query)
        assert as_role(url, source["user"], query) is None


def test_the_exporter_sees_the_servers_figures_and_nobodys_statements(
    postgres: Postgres, url: str
) -> None:
    # Given a server where an older release has made the exporter a member of pg_monitor / If its
    # role is made again, and somebody writes a text
    postgres.run(sql.Composed([sql.SQL("GRANT pg_monitor TO hitl_exporter")]))
    set_rights(url, {"hitl_exporter": PASSWORD})
    writer = psycopg2.connect(url)
    exporter = psycopg2.connect(url_of(url, "hitl_exporter", PASSWORD))
    try:
        with writer.cursor() as cursor:
            cursor.execute("SELECT 'what somebody wrote'")
        with exporter.cursor() as cursor:
            cursor.execute(
                "SELECT query FROM pg_stat_activity WHERE pid = %s", (writer.info.backend_pid,)
            )
            # I expect the exporter not to read it, and to know how large the databases are all
            # the same
            assert cursor.fetchall() == [("<insufficient privilege>",)]
            cursor.execute("SELECT min(pg_database_size(oid)) > 0 FROM pg_database")
            assert cursor.fetchall() == [(True,)]
    finally:
        writer.close()
        exporter.close()


def test_the_nightly_jobs_need_no_more_than_their_roles(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the auditor's role / If the ledger is verified by it, I expect the answer
    monkeypatch.setenv("DATABASE_URL", url_of(url, "hitl_auditor", PASSWORD))
    verified = CliRunner().invoke(app, ["audit", "verify"])
    assert verified.exit_code == 0, verified.output
    # And given the trainer's / I expect it to read what people and candidates said
    engine = connect(url_of(url, "hitl_trainer", PASSWORD), pool_size=1)
    try:
        assert list(labelled_texts.reviewed(engine, "spam")) == []
        assert list(reviewed.reviewed(engine, "spam")) == []
    finally:
        engine.dispose()


def test_a_table_that_comes_later_is_closed_to_all_roles(url: str, owner: Engine) -> None:
    # Given a table that a later version adds, and rights that somebody has given away for all times
    with owner.begin() as connection:
        connection.execute(
            text("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO hitl_grafana")
        )
        connection.execute(text("CREATE TABLE first ()"))
    assert as_role(url, "hitl_grafana", "SELECT FROM first") is None
    # If the rights are set again, I expect that table and the next one to be closed
    set_rights(url)
    with owner.begin() as connection:
        connection.execute(text("CREATE TABLE second ()"))
    for role in RIGHTS:
        for table in ("first", "second"):
            assert "permission denied" in (as_role(url, role, f"SELECT FROM {table}") or "")


def test_a_password_is_changed_without_a_word_of_it_in_the_servers_log(
    postgres: Postgres, url: str
) -> None:
    # Given a server that logs every statement / If a role gets another password
    postgres.run(sql.Composed([sql.SQL("ALTER SYSTEM SET log_statement = 'all'")]))
    postgres.run(RELOAD)
    try:
        set_rights(url, {"hitl_grafana": "a second one"})
    finally:
        postgres.run(sql.Composed([sql.SQL("ALTER SYSTEM RESET log_statement")]))
        postgres.run(RELOAD)
    # I expect the old one to be refused, the new one to be taken, and neither in the log
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(url_of(url, "hitl_grafana", PASSWORD))
    psycopg2.connect(url_of(url, "hitl_grafana", "a second one")).close()
    log = postgres.server.log.read_text()
    assert re.search(r'ALTER ROLE "hitl_grafana" LOGIN PASSWORD .SCRAM-SHA-256', log)
    assert "a second one" not in log
    set_rights(url, {"hitl_grafana": PASSWORD})


def test_a_database_with_one_user_for_all_is_left_as_open_as_it_was(
    node_of_one: str,
) -> None:
    # Given a server where nobody has made roles / If the rights are set, I expect none to be made
    # and nothing to be taken from anybody
    assert set_rights(node_of_one) == []
    engine = connect(node_of_one, pool_size=1)
    with engine.connect() as connection:
        assert connection.scalar(
            text("SELECT has_database_privilege('public', current_database(), 'CONNECT')")
        )
    engine.dispose()


@pytest.fixture
def node_of_one(postgres: Postgres, database_url: str) -> Iterator[str]:
    """A migrated database on a server where the roles are called something else."""
    for role in RIGHTS:
        postgres.run(sql.SQL("ALTER ROLE {} RENAME TO {}").format(
            sql.Identifier(role), sql.Identifier(f"other_{role}")))  # fmt: skip
    migrate(database_url)
    yield database_url
    for role in RIGHTS:
        postgres.run(sql.SQL("ALTER ROLE {} RENAME TO {}").format(
            sql.Identifier(f"other_{role}"), sql.Identifier(role)))  # fmt: skip
