"""Publishes sample items, movie reviews, for a stack without a producer.

The held-out snippets, each once: the next start resumes where this one stopped.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hitl.servers.home import Home
from services.feedback.training.rated_texts import Snippet, fetch, split_movies
from shared.errors import ConfigurationError, Overloaded
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.topology import ITEMS

WORKFLOW = "sentiment"
DEFAULT_RATE_PER_SECOND = 2.0


def message(snippet: Snippet) -> Outgoing:
    """A submission under a stable id: sent twice, it is one item."""
    body = {"id": snippet.id, "text": snippet.text, "metadata": {"source": "demo"}}
    return Outgoing(
        exchange=ITEMS,
        routing_key=WORKFLOW,
        body=json.dumps(body, ensure_ascii=False).encode(),
        message_id=snippet.id,
        timestamp=int(datetime.now(UTC).timestamp()),
    )


def publish(
    broker: Broker,
    snippets: Sequence[Snippet],
    position: Path,
    *,
    per_second: float,
    stopping: threading.Event,
) -> None:
    """Publishes the remaining snippets from `position` on; retries for ever."""
    try:
        done = int(position.read_text())
    except (OSError, ValueError):
        done = 0
    for number in range(done, len(snippets)):
        due = time.monotonic() + 1 / per_second
        while not stopping.is_set():
            try:
                broker.publish([message(snippets[number])])
                position.write_text(str(number + 1))
                break
            except Overloaded as error:
                print(f"retrying: {error}", flush=True)
        if stopping.wait(max(0.0, due - time.monotonic())):
            return
    print(f"all {len(snippets)} samples are published", flush=True)


def main() -> None:
    """Publishes until the samples run out or a signal comes."""
    settings = Settings.from_environment(os.environ).require("amqp_url")
    home = Home.from_environment(os.environ)
    per_second = float(os.environ.get("HITL_DEMO_RATE") or DEFAULT_RATE_PER_SECOND)
    if not per_second > 0:
        raise ConfigurationError("HITL_DEMO_RATE must be above 0 (items a second)")
    with service("demo", port=None, settings=settings) as lifecycle:
        fetch(home.data, lambda words: print(words, flush=True))
        snippets = split_movies(home.data).held_out
        broker = Broker(settings.amqp_url.get_secret_value(), name="demo")
        broker.start()
        try:
            publish(
                broker,
                snippets,
                home.path / "demo-position",
                per_second=per_second,
                stopping=lifecycle.stopping,
            )
        finally:
            broker.close()


if __name__ == "__main__":
    try:
        main()
    except (ConfigurationError, ValueError) as error:
        sys.exit(f"no sample items: {error}")
