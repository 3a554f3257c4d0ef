"""Is everything found that somebody does to the record behind its back? On real servers."""

import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from alembic import command
from pydantic import JsonValue
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner, Result

from hitl.commands.audit import app
from hitl.servers.ports import free_ports
from services.logger.chain import LEAF_TEXT
from services.logger.handler import Logger
from services.logger.ledger import Block, merkle_root, unpack
from shared.clock import utc_now
from shared.errors import Overloaded
from shared.events.envelope import encode
from shared.messaging.connection import Broker
from shared.service.settings import Settings
from shared.storage.database import connect
from shared.storage.migration import migration_config
from shared.topology import LOG_QUEUE, topology
from tests.support.amqp_client import outsider, until
from tests.support.item_events import TRACEPARENT, Journey, delivered, submitted

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "build" / "ledger.md"


def logger_on(engine: Engine) -> Logger:
    return Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)


def audit(engine: Engine, *words: str) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, words, env={"DATABASE_URL": url, "COLUMNS": "200"})


def first_finding(result: Result) -> str:
    assert result.exit_code == 1, result.output
    found = re.search(r"NOT WHOLE\. First: (.*)", result.stderr)
    assert found is not None, result.output
    return found[1]


def tampered(engine: Engine, *statements: str) -> None:
    """As a superuser, past the triggers."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, statement


@pytest.fixture
def ledger(engine: Engine) -> list[list[str]]:
    """Three blocks of twelve events; the ids by block, in the ledger's order."""
    log = logger_on(engine)
    for batch in range(3):
        journeys = [Journey(f"{batch}-{number}") for number in range(3)]
        log.handle([delivered(event) for each in journeys for event in each.everything()[2:6]])
    with engine.connect() as connection:
        return [
            [str(UUID(bytes=leaf.event_id)) for leaf in unpack(bytes(leaves))]
            for leaves in connection.execute(
                text("SELECT leaves FROM ledger_block WHERE height > 0 ORDER BY height")
            ).scalars()
        ]


def test_an_untouched_ledger_is_whole_and_its_blocks_stay(
    engine: Engine, ledger: list[list[str]], tmp_path: Path
) -> None:
    # Given three blocks, I expect the database and both kinds of export to be whole,
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output
    assert "whole: 36 events in 3 blocks, 9 texts; head " in result.stdout
    for name in ("ledger.jsonl", "ledger.jsonl.gz"):
        file = tmp_path / name
        assert audit(engine, "export", str(file)).exit_code == 0
        result = CliRunner().invoke(app, ["verify", "--from-export", str(file)], env={})
        assert result.exit_code == 0, result.output
        assert "whole: 36 events in 3 blocks; head " in result.stdout
        # with no person's text in them,
        assert b"a fine film" not in file.read_bytes()
    # an outsider's thirty lines to agree,
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert sum(1 for line in program.splitlines() if line) <= 30
    outsider = [sys.executable, "-I", "-c", program, str(tmp_path / "ledger.jsonl")]
    done = subprocess.run(outsider, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == result.stdout.split()[-1]
    # and the triggers to refuse what anybody but a superuser tries.
    for statement in (
        "UPDATE ledger_block SET count = 1",
        "DELETE FROM ledger_block",
        "TRUNCATE ledger_block",
    ):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    # A copy that was cut, or changed by one letter, is not taken for a ledger that is whole.
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    (tmp_path / "cut.jsonl").write_text("\n".join(lines[:-1]))
    result = CliRunner().invoke(app, ["verify", "--from-export", str(tmp_path / "cut.jsonl")])
    assert (result.exit_code, "is incomplete" in result.stderr) == (2, True)
    place = next(number for number, line in enumerate(lines) if "positive" in line)
    changed = json.loads(json.loads(lines[place])["event"])["event_id"]
    lines[place] = lines[place].replace("positive", "negative", 1)
    (tmp_path / "changed.jsonl").write_text("\n".join(lines))
    result = CliRunner().invoke(app, ["verify", "--from-export", str(tmp_path / "changed.jsonl")])
    assert f"event {changed} of block 1" in first_finding(result)
    outsider[-1] = str(tmp_path / "changed.jsonl")
    assert subprocess.run(outsider, capture_output=True, check=False).returncode != 0


TAMPERINGS: dict[str, tuple[list[str], str]] = {
    "an event altered": (
        ["""UPDATE event SET data = data || '{"altered": true}' WHERE event_id = '{b}'"""],
        "event {b} of block 2 (seq 18) was altered",
    ),
    "the time of an event altered": (
        ["UPDATE event SET recorded_at = recorded_at - interval '1 day' WHERE event_id = '{b}'"],
        "event {b} of block 2 (seq 18) was altered",
    ),
    "two events altered": (
        [
            "UPDATE event SET source = 'x' WHERE event_id = '{c}'",
            "UPDATE event SET source = 'x' WHERE event_id = '{a}'",
        ],
        "event {a} of block 1 (seq 6) was altered",
    ),
    "an event deleted": (
        ["DELETE FROM event WHERE event_id = '{b}'"],
        "event {b} of block 2 is missing",
    ),
    "two events swapped": (
        [
            "ALTER TABLE event ALTER seq DROP IDENTITY",
            "UPDATE event SET seq = -1 WHERE event_id = '{b}'",
            "UPDATE event SET seq = 18 WHERE event_id = '{next}'",
            "UPDATE event SET seq = 19 WHERE event_id = '{b}'",
        ],
        "event {next} of block 2 (seq 18) was reordered: it stands elsewhere",
    ),
    "an event moved to another block": (
        [
            "ALTER TABLE event ALTER seq DROP IDENTITY",
            "UPDATE event SET seq = 1000 WHERE event_id = '{a}'",
        ],
        "event {a} of block 1 is missing",
    ),
    "an event inserted": (
        [
            """INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at, source,
                                  data)
               VALUES ('00000000-0000-0000-0000-00000000f0e9', 'item.accepted', 1, 'sentiment',
                       '0-0', now(), '/hitl/router', '{}')"""
        ],
        "event 00000000-0000-0000-0000-00000000f0e9 (seq 37) is in no block",
    ),
    "a root altered": (
        ["UPDATE ledger_block SET merkle_root = sha256('x') WHERE height = 2"],
        "block 2 was altered",
    ),
    "a previous hash altered": (
        ["UPDATE ledger_block SET previous_hash = sha256('x') WHERE height = 2"],
        "block 2 was altered",
    ),
    "the time of a block altered": (
        ["UPDATE ledger_block SET created_at = created_at - interval '1 s' WHERE height = 3"],
        "block 3 was altered",
    ),
    "a leaf altered with its event": (
        [
            "UPDATE event SET source = 'x' WHERE event_id = '{b}'",
            """UPDATE ledger_block SET leaves = overlay(leaves PLACING sha256('x') FROM 17)
               WHERE height = 2""",
        ],
        "block 2 was altered: its leaves do not give its Merkle root",
    ),
    "the leaves cut": (
        ["UPDATE ledger_block SET leaves = substring(leaves FROM 1 FOR 100) WHERE height = 2"],
        "block 2 was altered",
    ),
    "a block deleted": (["DELETE FROM ledger_block WHERE height = 2"], "block 2 is missing"),
    "the first block deleted": (
        ["DELETE FROM ledger_block WHERE height = 0"],
        "block 0 is missing",
    ),
    "a block deleted with its events": (
        [
            "DELETE FROM event WHERE seq BETWEEN 13 AND 24",
            "DELETE FROM ledger_block WHERE height = 2",
        ],
        "block 2 is missing",
    ),
    "the last block deleted": (
        ["DELETE FROM ledger_block WHERE height = 3"],
        "event {c} (seq 25) is in no block",
    ),
    "everything declared older than the ledger": (
        [
            "UPDATE ledger_block SET last_seq = 36 WHERE height = 0",
            "DELETE FROM ledger_block WHERE height > 0",
        ],
        "block 0 was altered",
    ),
    "a text altered": (
        ["UPDATE item SET text = 'a dull film' WHERE id = '1-1'"],
        "item '1-1' of sentiment: its text or metadata was altered",
    ),
    "metadata altered": (
        ["UPDATE item SET metadata = '{}' WHERE id = '1-1'"],
        "item '1-1' of sentiment: its text or metadata was altered",
    ),
    "a text taken away without a record": (
        [
            """UPDATE item SET text = '[erased]', text_salts = NULL, erased_at = now()
               WHERE id = '1-1'"""
        ],
        "item '1-1' of sentiment: its text was erased, and no event records it",
    ),
    "an item deleted": (
        ["DELETE FROM item WHERE id = '1-1'"],
        "item '1-1' of sentiment: its row in `item` is missing",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_a_superuser_does_is_found_and_named(
    engine: Engine, ledger: list[list[str]], tmp_path: Path, what: str
) -> None:
    # Given three blocks of twelve events
    names = {"a": ledger[0][5], "b": ledger[1][5], "next": ledger[1][6], "c": ledger[2][0]}
    statements, expected = TAMPERINGS[what]

    def named(words: str) -> str:
        for name, event_id in names.items():
            words = words.replace(f"{{{name}}}", event_id)
        return words

    # If somebody who can do everything in the database changes them
    tampered(engine, *map(named, statements))
    # I expect the first of what was changed to be named, in the database
    assert first_finding(audit(engine, "verify")).startswith(named(expected))
    # and, where it is not about a text, in an export of it.
    if not expected.startswith("item"):
        file = tmp_path / "ledger.jsonl"
        assert audit(engine, "export", str(file)).exit_code == 0
        result = CliRunner().invoke(app, ["verify", "--from-export", str(file)])
        assert first_finding(result).startswith(named(expected))


def rewritten(connection: Connection) -> None:
    """The history with another source of its first event, every hash after it made anew."""
    connection.execute(text("UPDATE event SET source = 'x' WHERE seq = 1"))
    leaf = "sha256('\\x00'::bytea || convert_to(" + LEAF_TEXT + ", 'UTF8'))"
    connection.execute(
        text(
            f"""UPDATE ledger_block SET leaves = overlay(leaves PLACING
                (SELECT {leaf} FROM event WHERE seq = 1) FROM 17) WHERE height = 1"""
        )
    )
    columns = "height, count, first_seq, last_seq, merkle_root, previous_hash, created_at, leaves"
    previous: bytes | None = None
    for row in connection.execute(text(f"SELECT {columns} FROM ledger_block ORDER BY height")):
        height, number, first, last, _, before, created_at, leaves = row
        root = merkle_root([each.hash for each in unpack(bytes(leaves))])
        named = previous or bytes(before)
        block = Block(height, number, first, last, root, named, created_at, bytes(leaves))
        connection.execute(
            text(
                "UPDATE ledger_block SET merkle_root = :root, previous_hash = :previous,"
                " block_hash = :hash WHERE height = :height"
            ),
            {
                "root": root,
                "previous": block.previous_hash,
                "hash": block.hash,
                "height": block.height,
            },
        )
        previous = block.hash


def cut_off(connection: Connection) -> None:
    """The newest block, its events and their items, gone together."""
    connection.execute(text("DELETE FROM event WHERE seq > 24"))
    connection.execute(text("DELETE FROM ledger_block WHERE height = 3"))
    connection.execute(text("DELETE FROM item WHERE id LIKE '2-%'"))


@pytest.mark.parametrize(
    ("forgery", "expected"),
    [
        (cut_off, "block 3 is missing, which an anchor names: the ledger ends at 2"),
        (rewritten, "block 3 is not the one that was anchored: history was rewritten"),
    ],
)
def test_a_consistent_forgery_is_found_by_an_anchor(
    engine: Engine,
    ledger: list[list[str]],
    tmp_path: Path,
    forgery: Callable[[Connection], None],
    expected: str,
) -> None:
    # Given the head of the ledger, printed and in a file
    assert len(ledger) == 3
    anchors = tmp_path / "anchors.jsonl"
    result = audit(engine, "head", "--anchor", str(anchors))
    assert json.loads(result.stdout)["height"] == 3
    assert anchors.read_text() == result.stdout
    assert audit(engine, "verify", "--anchors", str(anchors)).exit_code == 0
    # If somebody forges so that everything fits together
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        forgery(connection)
    # I expect nothing to show it, as documented, but the anchor.
    assert audit(engine, "verify").exit_code == 0
    assert first_finding(audit(engine, "verify", "--anchors", str(anchors))) == expected
    # Where two anchors contradict each other, nothing is said of the ledger: another code.
    with anchors.open("a") as out:
        out.write(anchors.read_text().replace('"block_hash": "', '"block_hash": "00'))
    result = audit(engine, "verify", "--anchors", str(anchors))
    assert (result.exit_code, "line 2: another hash of block 3" in result.stderr) == (2, True)


def test_two_loggers_make_one_chain_and_a_second_delivery_no_leaf(
    engine: Engine, database_url: str
) -> None:
    # Given two shuffles of the same events of 60 items: most are new to one of the loggers only
    events = [event for number in range(60) for event in Journey(str(number)).everything()]
    both = threading.Barrier(2)

    def run(seed: int) -> None:
        own = connect(database_url)
        log = logger_on(own)
        shuffled = random.Random(seed).sample(events, len(events))
        both.wait()
        for start in range(0, len(shuffled), 20):
            log.handle([delivered(event) for event in shuffled[start : start + 20]])
        own.dispose()

    # If both write at the same time
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (1, 2)))
    # I expect one chain without gaps and forks, and each event in it once;
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output
    assert "whole: 480 events in " in result.stdout
    height = json.loads(audit(engine, "head").stdout)["height"]
    # and what comes again, after a crash between commit and ack, to leave the ledger as it is.
    results = logger_on(engine).handle([delivered(event) for event in events])
    assert list(results) == [()] * len(events)
    assert json.loads(audit(engine, "head").stdout)["height"] == height


def test_a_transaction_that_fails_leaves_no_block(engine: Engine) -> None:
    # Given a logger whose transaction fails after the block was made
    with engine.begin() as connection:
        connection.execute(
            text("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57000'; END $$""")
        )
        connection.execute(
            text("""CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger_block
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()""")
        )
    with pytest.raises(Overloaded):
        logger_on(engine).handle([submitted("a"), delivered(Journey("a").scored())])
    # I expect neither events nor a block,
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM event")).scalar() == 0
        assert connection.execute(text("SELECT max(height) FROM ledger_block")).scalar() == 0
        connection.execute(text("DROP TRIGGER late ON ledger_block"))
    # and both once it can write again.
    logger_on(engine).handle([submitted("a"), delivered(Journey("a").scored())])
    assert "whole: 2 events in 1 blocks" in audit(engine, "verify").stdout
    # A ledger without any block is not begun anew: the logger holds what it has and says why.
    tampered(engine, "DELETE FROM ledger_block")
    with pytest.raises(Overloaded, match="no block"):
        logger_on(engine).handle([delivered(Journey("b").scored())])


def test_numbers_that_postgres_writes_out_are_committed_to_as_it_writes_them(
    engine: Engine,
) -> None:
    # Given metadata with numbers beyond those that a float holds to the last digit
    journey = Journey("large numbers")
    numbers: list[JsonValue] = [1e22, 1e23, 1.2345678901234566e25, -1e300, 10**23 + 1, 5e-324]
    journey.item = journey.item.model_copy(update={"metadata": {"numbers": numbers}})
    # When they are logged
    logger_on(engine).handle([delivered(journey.scored()), delivered(journey.accepted())])
    # I expect the record to be whole
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output


def test_what_is_older_than_the_ledger_is_counted(engine: Engine) -> None:
    # Given events from before the ledger
    with engine.connect() as connection:
        command.downgrade(migration_config(connection), "0007")
        connection.execute(
            text(
                "INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at,"
                " source, data) SELECT gen_random_uuid(), 'item.scored', 1, 'sentiment', n::text,"
                " now(), 'test', '{}' FROM generate_series(1, 3) AS n"
            )
        )
        command.upgrade(migration_config(connection), "head")
        connection.commit()
    logger_on(engine).handle([delivered(Journey("a").scored())])
    # I expect the new one to be covered, and of the old ones their number:
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output
    assert "whole: 1 events in 1 blocks, 1 texts" in result.stdout
    assert "3 events are older than the ledger" in result.stdout
    # one more or one less is found.
    tampered(engine, "DELETE FROM event WHERE seq = 2")
    assert first_finding(audit(engine, "verify")).startswith("block 0 counts 3 events")


def test_loggers_that_are_killed_leave_one_whole_chain(
    engine: Engine, database_url: str, amqp_url: str
) -> None:
    # Given 1 600 events on a real broker
    events = [event for number in range(200) for event in Journey(str(number)).everything()]
    broker = Broker(
        amqp_url,
        name="test",
        topology=topology(["sentiment"], Settings().retry_delays_seconds),
    )
    broker.start()
    assert broker.wait_ready(20)
    broker.publish([encode(event, source="test", traceparent=TRACEPARENT) for event in events])
    broker.close()
    # If two loggers take them in small batches, one of which dies in the middle, and then the other
    running = [start_logger(amqp_url, database_url) for _ in range(2)]
    try:
        for process, least in zip(tuple(running), (200, 600), strict=True):
            until(more_than(engine, least), seconds=60, what="some events")
            process.kill()
            process.wait(10)
            running.append(start_logger(amqp_url, database_url))
        with outsider(amqp_url) as program:
            until(lambda: count(engine) == len(events), seconds=60, what="all events")
            until(lambda: program.ready(LOG_QUEUE) == 0, seconds=60, what="an empty queue")
    finally:
        for process in running:
            process.kill()
            process.wait(10)
    # I expect one chain, and every event in it once.
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output
    assert "whole: 1600 events in " in result.stdout


def start_logger(amqp_url: str, database_url: str) -> "subprocess.Popen[bytes]":
    """The logger as a process of its own."""
    environment = {
        **os.environ,
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "HITL_LOGGER_PORT": str(free_ports(1)[0]),
        "HITL_WORKFLOWS": "sentiment",
        "HITL_LOG_BATCH_ROWS": "50",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "services.logger"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )


def more_than(engine: Engine, least: int) -> Callable[[], bool]:
    """Whether so many events are committed."""
    return lambda: count(engine) >= least


def count(engine: Engine) -> int:
    """How many events are committed."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM event")).scalar_one())
