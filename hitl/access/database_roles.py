"""Postgres roles: one a program, each with the rights that its statements need and no more.

The owner, who runs `hitl prepare` and the command line, owns every table: only it may change the
schema, create accounts and tokens, or erase a text. No role may access a table that is not listed
here, nor one that a later version adds.
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

# Role → table or view → privileges. Logs are append-only.
RIGHTS: Mapping[str, Mapping[str, str]] = {
    "hitl_logger": {"event": "SELECT, INSERT", "ledger_block": "SELECT, INSERT", "item": WRITE},
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
        # It rehashes a password, ends sessions and records a token's use. Only the command line
        # creates accounts, admins and tokens.
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
# Older releases granted this; it shows every session's statements, and the figures need no right.
_REVOKED = {"hitl_exporter": "pg_monitor"}
_SCHEMAS = ("public", "report")
_LOCK = 0x72_6F_6C_65_73  # "roles": one program at a time


def set_rights(database_url: str, passwords: Mapping[str, str] | None = None) -> list[str]:
    """Grants existing roles exactly their `RIGHTS`, in one transaction; safe to repeat.

    With `passwords` the roles named there are created first, or get that password: for this the
    owner must be allowed to create roles. Returns the roles that now have their rights.

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
            _create(connection, role, password)
        known = [role for role in RIGHTS if _exists(connection, role)]
        if known:  # else one user serves all, and others may use the database as well
            _revoke_all(connection, known)
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
    """Runs it with `names` quoted as identifiers; a dot separates schema and table."""
    parts = {key: sql.Identifier(*name.split(".")) for key, name in names.items()}
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**parts))
        return cursor.fetchall() if cursor.description else []


def _exists(connection: Connection, role: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
        return cursor.rowcount > 0


def _create(connection: Connection, role: str, password: str) -> None:
    """Sends the server a hash, never the password: statements may be logged."""
    if not _exists(connection, role):
        _run(connection, "CREATE ROLE {role} LOGIN", role=role)
    hashed = encrypt_password(password, role, connection, "scram-sha-256")
    with connection.cursor() as cursor:
        statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        cursor.execute(statement.format(sql.Identifier(role), sql.Literal(hashed)))
        # Only where it is granted: a user that may not grant a group may not try to revoke it.
        cursor.execute(
            "SELECT FROM pg_auth_members WHERE member = to_regrole(%s) AND roleid = to_regrole(%s)",
            (role, _REVOKED.get(role)),
        )
        granted = cursor.rowcount > 0
    if granted:
        _run(connection, "REVOKE {group} FROM {role}", group=_REVOKED[role], role=role)


def _revoke_all(connection: Connection, roles: list[str]) -> None:
    """Revokes all rights: the public's, those by default, and those granted before."""
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
        grant = f"GRANT {_DATABASE.get(role, 'CONNECT')} ON DATABASE {{name}} TO {{role}}"
        _run(connection, grant, name=database, role=role)


def _grant(connection: Connection, role: str) -> None:
    for table, privileges in RIGHTS[role].items():
        schema = table.partition(".")[0] if "." in table else "public"
        _run(connection, "GRANT USAGE ON SCHEMA {schema} TO {role}", schema=schema, role=role)
        _run(connection, f"GRANT {privileges} ON {{table}} TO {{role}}", table=table, role=role)
