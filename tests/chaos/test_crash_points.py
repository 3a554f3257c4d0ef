"""Does a process that is to die at a point of its work come by there?"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.storage.tables import Outbox
from tests.chaos.crash import sitecustomize
from tests.chaos.harness import CRASH, ROOT

DUE = datetime(2026, 1, 1, tzinfo=UTC)
RELAY = """
import sys
from datetime import UTC, datetime
from sqlalchemy import create_engine
from shared.storage.outbox import publish_due

engine, now = create_engine(sys.argv[1]), datetime.now(UTC)
print("marked", publish_due(engine, lambda messages: print("published"), now))
"""


@pytest.mark.parametrize(
    ("point", "before_it"), [("", "published\nmarked 1\n"), ("publish-mark", "published\n"),
                             ("outbox-publish", "")],
)  # fmt: skip
def test_a_relay_dies_where_it_is_told_to(point: str, before_it: str, engine: Engine) -> None:
    # Given a decision that is to leave
    with Session(engine) as session, session.begin():
        route = {"exchange": "hitl.decisions", "routing_key": "accepted.sentiment"}
        message = {"headers": {}, "type": "item.reviewed", "body": b"{}"}
        session.add(Outbox(event_id=uuid4(), **route, **message, not_before=DUE))
    # If a process publishes it that is to die at this point
    url = engine.url.render_as_string(hide_password=False)
    died = subprocess.run(
        [sys.executable, "-u", "-c", RELAY, url], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "CHAOS_CRASH": point, "PYTHONPATH": f"{CRASH}:{ROOT}"}, timeout=60,
    )  # fmt: skip
    # I expect it to have come just so far, and to have died there
    assert died.stdout == before_it, died.stderr
    assert died.returncode == (sitecustomize.CODE if point else 0)
