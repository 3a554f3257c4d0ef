"""For the ledger: salted commitments to the texts, the leaves of each block, a first
block, and triggers that keep the blocks as they are."""

import json
import os
from datetime import UTC
from hashlib import sha256

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column(
        "event",
        sa.Column("text_commitment", sa.LargeBinary(), comment="to the text it brought, salted"),
    )
    op.add_column(
        "item",
        sa.Column("text_salts", sa.LargeBinary(), comment="event id and salt of each commitment"),
    )
    op.add_column("item", sa.Column("erased_at", TIMESTAMP(timezone=True)))
    # Nothing, but where this version was here before: what was erased then stays erased.
    op.execute("""
        UPDATE item SET erased_at = event.occurred_at FROM event
        WHERE event.type = 'item.erased'
          AND event.workflow = item.workflow AND event.item_id = item.id
    """)
    op.add_column("ledger_block", sa.Column("count", sa.BigInteger(), nullable=False))
    op.add_column(
        "ledger_block",
        sa.Column(
            "leaves",
            sa.LargeBinary(),
            nullable=False,
            comment="event id and hash of each, in order",
        ),
    )
    _first_block()
    op.execute("""
        CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table "ledger_block" is append-only: % refused', TG_OP
                USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER ledger_blocks_stay BEFORE UPDATE OR DELETE ON ledger_block
        FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()
    """)
    op.execute("""
        CREATE TRIGGER ledger_is_not_emptied BEFORE TRUNCATE ON ledger_block
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER ledger_is_not_emptied ON ledger_block")
    op.execute("DROP TRIGGER ledger_blocks_stay ON ledger_block")
    op.execute("DROP FUNCTION ledger_is_append_only()")
    op.execute("DELETE FROM ledger_block")
    op.drop_column("ledger_block", "leaves")
    op.drop_column("ledger_block", "count")
    op.drop_column("item", "erased_at")
    op.drop_column("item", "text_salts")
    op.drop_column("event", "text_commitment")


def _first_block() -> None:
    """Block 0 counts the events that nothing was hashed of, and is unlike any other ledger's: its
    "previous hash" is random. The formula is that of services/logger/ledger.py."""
    connection = op.get_bind()
    count, last, now = connection.execute(
        sa.text("SELECT count(*), coalesce(max(seq), 0), clock_timestamp() FROM event")
    ).one()
    root, previous = sha256(b"").digest(), os.urandom(32)
    header = {
        "count": count,
        "created_at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "first_seq": 0,
        "height": 0,
        "last_seq": last,
        "merkle_root": root.hex(),
        "previous_hash": previous.hex(),
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    connection.execute(
        sa.text(
            "INSERT INTO ledger_block (height, count, first_seq, last_seq, merkle_root,"
            " previous_hash, block_hash, created_at, leaves)"
            " VALUES (0, :count, 0, :last, :root, :previous, :hash, :now, '')"
        ),
        {
            "count": count,
            "last": last,
            "root": root,
            "previous": previous,
            "hash": sha256(b"\x02" + text.encode()).digest(),
            "now": now,
        },
    )
