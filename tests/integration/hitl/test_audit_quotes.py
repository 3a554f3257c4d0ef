"""Words that an earlier release quoted go from the log and the dead letters, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from hitl.commands.audit import app
from services.logger.handler import Logger
from shared.answers.base import Kind
from shared.clock import utc_now
from shared.messaging.connection import declare_all
from shared.topology import review_queue, topology
from tests.integration.hitl.test_audit_erase import everything_in
from tests.integration.logger.test_ledger import first_finding, tampered
from tests.support.amqp_client import outsider
from tests.support.answer_events import AnswerJourney
from tests.support.item_events import Journey, delivered

SECRET = "Emil lives at 7 Harbour Street"
QUOTING = (
    'null value in column "owner" of relation "review_task" violates not-null constraint\n'
    f"DETAIL:  Failing row contains (emil, {SECRET})."
)
ROOT = Path(__file__).parents[3]


def audit(engine: Engine, amqp_url: str, *words: str) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    environment = {"DATABASE_URL": url, "AMQP_URL": amqp_url, "COLUMNS": "200"}
    return CliRunner().invoke(app, words, env=environment)


@pytest.fixture
def quoted(engine: Engine, amqp_url: str) -> str:
    """A log and a dead letter as an earlier release wrote them, among others that quote nothing;
    the name of the queue."""
    declare_all(amqp_url, topology(("sentiment",), (5, 30, 300)))
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    one, other, plain = Journey("emil"), Journey("otto"), Journey("plain")
    failures = [
        one.failed("hitl.sentiment.review").model_copy(
            update={"reason": "rejected_by_database", "detail": QUOTING, "text": None}
        ),
        other.failed("hitl.router").model_copy(
            update={"detail": "failed 4 times, at last: ValueError: no 'a fine film' here"}
        ),
        plain.failed("hitl.router").model_copy(update={"detail": "the model answered NaN"}),
    ]
    log.handle([delivered(other.scored()), delivered(plain.scored())])
    log.handle([delivered(event) for event in failures])
    queue = f"{review_queue('sentiment')}.dlq"
    with outsider(amqp_url) as program:
        for error in (QUOTING, "the model answered NaN"):
            program.publish(
                "{}", exchange="", routing_key=queue,
                headers={"x-hitl-error": error, "x-hitl-reason": "rejected_by_database"},
            )  # fmt: skip
    return queue


def test_quoted_words_are_found_and_go_and_the_ledger_stays_whole(
    engine: Engine, amqp_url: str, quoted: str, tmp_path: Path
) -> None:
    # If I look for them, I expect both events and the one letter to be named, and a failure
    found = audit(engine, amqp_url, "quotes")
    assert found.exit_code == 1, found.output
    assert "2 failures in the log found" in found.stdout
    assert f"1 dead-lettered messages of {quoted} found" in found.stdout
    assert "Harbour" not in found.output
    before = everything_in(engine)
    assert "Harbour Street" in before
    anchors = tmp_path / "anchors.jsonl"
    assert audit(engine, amqp_url, "head", "--anchor", str(anchors)).exit_code == 0
    # If they are erased, I expect the words to be nowhere in the database or the headers,
    done = audit(engine, amqp_url, "quotes", "--erase", "--by", "the lead")
    assert done.exit_code == 0, done.output
    assert "Harbour Street" not in everything_in(engine)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, failure FROM item"))
        failures: dict[str, str | None] = {item_id: failure for item_id, failure in rows}
        assert failures["emil"] == "rejected_by_database at hitl.sentiment.review: [erased]"
        assert failures["plain"] is not None
        assert failures["plain"].endswith("the model answered NaN")
        recorded = connection.execute(
            text("SELECT data FROM event WHERE type = 'item.redacted' ORDER BY seq")
        ).scalars()
        assert [each["by"] for each in recorded] == ["the lead"] * 2
    with outsider(amqp_url) as program:
        errors = [letter.headers["x-hitl-error"] for letter in program.take(quoted, 2)]
    assert sorted(errors) == ["[erased]", "the model answered NaN"]
    # the ledger whole, by its anchors, by an export, and by an outsider's lines;
    whole = audit(engine, amqp_url, "verify", "--anchors", str(anchors))
    assert whole.exit_code == 0, whole.output
    assert "2 failures were redacted" in whole.stdout
    file = tmp_path / "ledger.jsonl"
    assert audit(engine, amqp_url, "export", str(file)).exit_code == 0
    assert audit(engine, amqp_url, "verify", "--from-export", str(file)).exit_code == 0
    page = (ROOT / "docs/build/ledger.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    outside = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
    )
    assert outside.stdout.startswith("whole; head"), outside.stderr
    # and nothing to be found any more.
    again = audit(engine, amqp_url, "quotes")
    assert again.exit_code == 0, again.output
    assert "0 failures in the log found" in again.stdout


@pytest.mark.parametrize("kind", ["text", "preference", "approval"])
def test_words_that_an_item_brought_or_a_person_answered_are_found_too(
    kind: Kind, engine: Engine, amqp_url: str
) -> None:
    # Given a failure that quotes a draft, a candidate or a reply, whose words are not the text's,
    # and one that quotes nothing
    declare_all(amqp_url, topology((kind,), (5, 30, 300)))
    log = Logger(engine, workflows=[kind], max_body_bytes=1 << 20, clock=utc_now)
    one, plain = AnswerJourney("emil", kind), AnswerJourney("plain", kind)
    for journey in (one, plain):
        journey.item = journey.item.model_copy(update={"text": "about something else"})
    log.handle([delivered(each.scored()) for each in (one, plain)])
    log.handle([delivered(one.answered(one.said.other))])
    for journey, detail in (
        (one, f"ValueError: Never: {SECRET}"),
        (plain, "the model answered NaN"),
    ):
        failure = journey.failed("hitl.router").model_copy(update={"detail": detail, "text": None})
        log.handle([delivered(failure)])
    # If I look for them, I expect that one; and erased, to be nowhere in the log.
    found = audit(engine, amqp_url, "quotes")
    assert (found.exit_code, "1 failures in the log found" in found.stdout) == (1, True), found
    assert audit(engine, amqp_url, "quotes", "--erase").exit_code == 0
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT data::text FROM event")).scalars()
        assert not any("Harbour" in data for data in kept)
    assert audit(engine, amqp_url, "quotes").exit_code == 0


@pytest.mark.parametrize(
    ("behind_its_back", "finding"),
    [
        (
            "UPDATE event SET data = jsonb_set(data, '{reason}', '\"schema\"')"
            " WHERE item_id = 'emil' AND type = 'item.failed'",
            "was altered",
        ),
        (
            "UPDATE event SET data = jsonb_set(data, '{detail}', '\"[erased]\"')"
            " WHERE item_id = 'plain' AND type = 'item.failed'",
            "was altered",
        ),
        (
            "UPDATE event SET data = jsonb_set(data, '{by}', '\"nobody\"')"
            " WHERE type = 'item.redacted' AND item_id = 'emil'",
            "was altered",
        ),
    ],
    ids=["a redacted row", "a row that no event tells of", "the event that tells of it"],
)
def test_what_is_altered_behind_it_is_found_all_the_same(
    engine: Engine, amqp_url: str, quoted: str, behind_its_back: str, finding: str
) -> None:
    assert quoted
    assert audit(engine, amqp_url, "quotes", "--erase").exit_code == 0
    assert audit(engine, amqp_url, "verify").exit_code == 0
    tampered(engine, behind_its_back)
    assert finding in first_finding(audit(engine, amqp_url, "verify"))


def test_the_rows_stay_append_only_for_everybody_afterwards(
    engine: Engine, amqp_url: str, quoted: str
) -> None:
    assert quoted
    assert audit(engine, amqp_url, "quotes", "--erase").exit_code == 0
    with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
        connection.execute(text("UPDATE event SET source = 'x'"))
