"""Postgres roles: one a program, each with the rights its statements need and no more.

The owner, who runs `hitl prepare` and the command line, owns every table: only it may change the
schema, make accounts and tokens, or erase a text. What is not named here nobody else may touch, nor
a table that a later version adds.
"""

from collections.abc import Mapping

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import encrypt_password
from sqlalchemy import make_url

from shared.storage.database import connect

READ = "SELECT"
WRITE = "SELECT, INSERT, UPDATE"
ANY = "SELECT, INSERT, UPDATE, DELETE"

# Role → table or view → privileges. A log is added to and never changed.
RIGHTS: Mapping[str, Mapping[str, str]] = {
    "hitl_logger": {
        "event": "SELECT, INSERT",
        "ledger_block": "SELECT, INSERT",
        "item": WRITE,
    },
    "hitl_review_ui": {
        "event": READ,
        "item": READ,
        "known_item": READ,
        "review_task": WRITE,
        "review_decision": WRITE,
        "highlight": WRITE,
        "outbox": ANY,
        "webhook": ANY,
        "webhook_delivery": ANY,
        # It rehashes a password, ends sessions and notes a token's use. It makes no account, no
        # admin and no token: that is the command line's.
        "reviewer": "SELECT, UPDATE (password_hash, session_epoch)",
        "api_token": "SELECT, UPDATE (last_used_at)",
    },
    "hitl_feedback": {
        "event": READ,
        "item": READ,
        "ledger_block": READ,
        "review_task": READ,
        "review_decision": READ,
        "certificate": "SELECT, INSERT",
        "certification_epoch": WRITE,
    },
    "hitl_trainer": {"event": READ, "item": READ, "review_task": READ},
    "hitl_auditor": {"event": READ, "item": READ, "ledger_block": READ},
    "hitl_grafana": {
        "report.item": READ,
        "report.review_task": READ,
        "report.review_decision": READ,
        "report.certificate": READ,
        "report.ledger_block": READ,
    },
    "hitl_exporter": {},
}
# The logger copies each batch into a temporary table first.
_DATABASE = {"hitl_logger": "CONNECT, TEMPORARY"}
# Older releases granted this; it shows every session's statements. The figures are everybody's.
_NO_LONGER = {"hitl_exporter": "pg_monitor"}
_SCHEMAS = ("public", "report")
_LOCK = 0x72_6F_6C_65_73  # "roles": one program at a time


def set_rights(database_url: str, passwords: Mapping[str, str] | None = None) -> list[str]:
    """Grants the roles that exist exactly what `RIGHTS` says, in one transaction; safe to repeat.

    With `passwords` the roles named there are made first, or get that password: for this the owner
    must be allowed to make roles. Returns the roles that have their rights now.

    Raises:
        sqlalchemy.exc.DBAPIError, psycopg2.Error: nothing was changed.
    """
    engine = connect(database_url, pool_size=1, application="hitl-roles")
    held = engine.raw_connection()
    try:
        connection = held.driver_connection
        assert isinstance(connection, Connection)  # noqa: S101 - psycopg2's, by `connect`
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for role, password in (passwords or {}).items():
            _make(connection, role, password)
        known = [role for role in RIGHTS if _exists(connection, role)]
        if known:  # else there is one user for all, and others may have the database's use as well
            _close_to_all(connection, known)
        for role in known:
            _grant(connection, role)
        connection.commit()
    finally:
        held.close()
        engine.dispose()
    return known


def url_of(database_url: str, role: str, password: str) -> str:
    """The same database for a role."""
    url = make_url(database_url).set(username=role, password=password)
    return url.render_as_string(hide_password=False)


def _run(connection: Connection, statement: str, **names: str) -> list[tuple[object, ...]]:
    """`names` are quoted as identifiers; a dot parts schema and table."""
    parts = {key: sql.Identifier(*name.split(".")) for key, name in names.items()}
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**parts))
        return cursor.fetchall() if cursor.description else []


def _exists(connection: Connection, role: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
        return cursor.rowcount > 0


def _make(connection: Connection, role: str, password: str) -> None:
    """The server is told a hash, never the password: statements may be logged."""
    if not _exists(connection, role):
        _run(connection, "CREATE ROLE {role} LOGIN", role=role)
    hashed = encrypt_password(password, role, connection, "scram-sha-256")
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(hashed)
            )
        )
    group = _NO_LONGER.get(role)
    if group and _is_member(connection, role, group):
        _run(connection, "REVOKE {group} FROM {role}", group=group, role=role)


def _is_member(connection: Connection, role: str, group: str) -> bool:
    """Asked first: who may not grant a group may not revoke it either, not even where none is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_auth_members WHERE member = to_regrole(%s) AND roleid = to_regrole(%s)",
            (role, group),
        )
        return cursor.rowcount > 0


def _close_to_all(connection: Connection, roles: list[str]) -> None:
    """Nothing for everybody, nothing by default, and of what was granted before nothing is left."""
    database = str(_run(connection, "SELECT current_database()")[0][0])
    _run(connection, "REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC", name=database)
    for schema in _SCHEMAS:
        _run(connection, "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC", schema=schema)
        for role in roles:
            for what in ("TABLES", "SEQUENCES"):
                for statement in (
                    f"REVOKE ALL ON ALL {what} IN SCHEMA {{schema}} FROM {{role}}",
                    f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{schema}}"
                    f" REVOKE ALL ON {what} FROM {{role}}",
                ):
                    _run(connection, statement, schema=schema, role=role)
    for role in roles:
        _run(connection, "REVOKE ALL ON DATABASE {name} FROM {role}", name=database, role=role)
        allowed = _DATABASE.get(role, "CONNECT")
        _run(
            connection,
            f"GRANT {allowed} ON DATABASE {{name}} TO {{role}}",
            name=database,
            role=role,
        )


def _grant(connection: Connection, role: str) -> None:
    for table, privileges in RIGHTS[role].items():
        schema = table.partition(".")[0] if "." in table else "public"
        _run(connection, "GRANT USAGE ON SCHEMA {schema} TO {role}", schema=schema, role=role)
        _run(connection, f"GRANT {privileges} ON {{table}} TO {{role}}", table=table, role=role)
