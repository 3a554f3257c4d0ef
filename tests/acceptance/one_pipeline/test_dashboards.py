"""Does every panel show something? Its queries are asked of a Prometheus beside a running stack.

Grafana itself is not started here: how it draws the panels is not checked.
"""

import json
import time
from pathlib import Path

import pytest

from tests.conftest import RabbitMQ
from tests.contract.test_prometheus_config import DASHBOARDS, filled_in
from tests.support.amqp_client import until
from tests.support.pipeline import Pipeline
from tests.support.prometheus import SCRAPE_SECONDS, publish_some, review_some, scraped, value_of

pytestmark = pytest.mark.timeout(400)

ITEMS, REVIEWS = 40, 6
OPEN = "SELECT count(*) FROM review_task WHERE status = 'open' AND seeded_for IS NULL"


def test_every_panel_finds_something(
    pipeline: Pipeline, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    # Given a running stack with a Prometheus; items come in and people decide some of them
    with scraped(pipeline, rabbitmq, tmp_path) as prometheus:
        for pause in (3 * SCRAPE_SECONDS, 0):  # a rate needs two looks that differ
            publish_some(pipeline, ITEMS)
            until(lambda: pipeline.count(OPEN) >= REVIEWS, seconds=60, what="tasks")
            review_some(pipeline, REVIEWS)
            time.sleep(pause)
        missing = {
            f"{path.stem}: {panel['id']} {panel['title']} {target['refId']}": filled_in(
                target["expr"]
            )
            for path in DASHBOARDS
            for panel in json.loads(path.read_text())["panels"]
            if panel["type"] != "row" and "noValue" not in panel["fieldConfig"]["defaults"]
            for target in panel["targets"]
        }
        assert len(missing) > 50

        def all_found() -> bool:
            for name in [name for name, query in missing.items() if value_of(prometheus, query)]:
                del missing[name]
            return not missing

        # I expect every panel to find something, but for those that are empty while all is well
        try:
            until(all_found, seconds=60, what="every panel")
        except AssertionError:
            pytest.fail(f"these panels stay empty: {json.dumps(missing, indent=1)}")
        # and the same count of waiting tasks as the review service's own
        query = 'sum(max by (workflow) (hitl_review_tasks{status="open", workflow=~".*"}))'

        def shown() -> list[float]:
            return [float(line["value"][1]) for line in value_of(prometheus, query)]

        until(
            lambda: shown() == [pipeline.count(OPEN)],
            seconds=60,
            what="the same number of open tasks",
        )
