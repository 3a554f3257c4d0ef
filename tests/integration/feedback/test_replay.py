"""Does `hitl replay` route the log's items by another policy, as the real router would have?"""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.ledger.erase import Erasure, erase_text
from services.feedback.reports.replay import Replayed, replay
from services.feedback.reports.replay_log import history
from services.router.policy import Policy
from shared.clock import utc_now
from tests.support.audited_stream import LABELS, START, AuditedStream

FIXED = {"threshold": 0.8, "panel": {"rate": 0.2}}


@pytest.fixture
def world(engine: Engine) -> AuditedStream:
    """600 items between 0.5 and 1, one in ten wrong; what is below 0.8 or on the panel has an
    answer."""
    world = AuditedStream(engine, FIXED)
    world.stream(600, error=0.1)
    return world


def replayed(world: AuditedStream, **policy: object) -> Replayed:
    items = history(world.engine, "sentiment", START, utc_now())
    return replay(items, Policy.from_mapping(policy, LABELS), "sentiment", 1)


def test_the_same_policy_gives_what_was(world: AuditedStream) -> None:
    found = replayed(world, **FIXED)
    assert found.items == 600
    accepted = sum(route.route == "accept" for route in world.routes)
    assert found.accepted == found.accepted_then == accepted
    assert found.error == found.error_then
    # The audited fifth of the sure ones tells the error, within its interval.
    error = found.error
    assert error.low is not None
    assert error.high is not None
    assert error.low < 0.1 < error.high
    assert error.unknown == 0
    assert error.labels == sum(
        route.sampling.on_panel and route.would_accept for route in world.routes
    )


def test_a_looser_policy_accepts_more_and_knows_the_error_of_what_people_answered(
    world: AuditedStream,
) -> None:
    found = replayed(world, threshold=0.6)
    assert found.automation == pytest.approx(0.8, abs=0.05)
    assert found.error.labels > 200
    assert found.error.rate == pytest.approx(0.1, abs=0.05)
    assert found.error.shown > 0  # those below 0.8 saw the AI's label
    assert found.queue is not None
    assert found.queue.seconds_each == 1.0


def test_the_last_answer_counts_and_each_item_once(world: AuditedStream, engine: Engine) -> None:
    with engine.connect() as connection:
        before = connection.scalar(
            text("SELECT count(*) FROM event WHERE type = 'item.review_requested'")
        )
    items = list(history(engine, "sentiment", START, utc_now()))
    assert len({past.item.id for past in items}) == len(items) == 600
    assert sum(past.corrected is not None for past in items) == before
    assert {past.probability for past in items} == {0.2, 1.0}
    assert all(past.accepted or past.corrected is not None for past in items)
    # Another workflow, or another time, has none.
    assert list(history(engine, "spam", START, utc_now())) == []
    assert list(history(engine, "sentiment", utc_now(), utc_now())) == []


def test_erased_items_are_counted_where_a_rule_reads_texts(
    world: AuditedStream, engine: Engine
) -> None:
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure("sentiment", "i7", "grace", "asked for", utc_now()))
    rule = {"name": "long", "when": {"min_characters": 500}, "then": "review"}
    assert (replayed(world, threshold=0.8).items, replayed(world, threshold=0.8).left_out) == (
        600,
        0,
    )
    ruled = replayed(world, threshold=0.8, rules=[rule])
    assert (ruled.items, ruled.left_out) == (599, 1)
    by_text = {"name": "text", "when": {"text_matches": "^text 1"}, "then": "review"}
    assert replayed(world, threshold=0.0, rules=[by_text]).reviews == 111


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["replay", *options])


@pytest.fixture
def draft(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with another name than the workflow's."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    file = tmp_path / "draft.toml"
    file.write_text(
        '[workflow]\nname = "sentiment"\nlabels = ["negative", "positive"]\n'
        "[policy]\nthreshold = 0.6\n[policy.panel]\nrate = 0.1\n"
    )
    return file


def test_the_command_tells_people_and_programs(world: AuditedStream, draft: Path) -> None:
    said = run("--policy", str(draft), "--reviewers", "2")
    assert said.exit_code == 0, said.output
    for part in (
        "600 items",
        "decided by the machine",
        "wrong among what it accepts",
        "2 reviewers",
    ):
        assert part in said.output
    told = json.loads(run("--policy", str(draft), "--format", "json").stdout)
    assert told["items"] == 600
    assert 0 < told["error"]["low"] < told["error"]["high"] < 1
    assert told["by_day"] == {"2026-03-01": [told["reviews_then"], told["reviews"]]}


def test_the_command_refuses_what_it_cannot_read(engine: Engine, draft: Path) -> None:
    nothing = run("--policy", str(draft))
    assert nothing.exit_code == 0
    assert "No item of 'sentiment'" in nothing.output
    missing = run("--policy", str(draft.with_name("no.toml")))
    assert (missing.exit_code, "No such file" in missing.output) == (1, True)
    backwards = run("--policy", str(draft), "--since", "2026-03-02", "--until", "2026-03-01")
    assert (backwards.exit_code, "is not before" in backwards.output) == (1, True)
    draft.write_text('[workflow]\nname = "sentiment"\n[policy]\nthreshold = 7\n')
    wrong = run("--policy", str(draft))
    assert (wrong.exit_code, "threshold" in wrong.output) == (1, True)
    draft.write_text("threshold = ")
    broken = run("--policy", str(draft))
    assert (broken.exit_code, "draft.toml" in broken.output) == (1, True)
