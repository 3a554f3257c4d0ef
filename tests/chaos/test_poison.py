"""Does a message that kills its consumer take its neighbours with it?"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hitl.servers.ports import free_ports
from shared.messaging.connection import declare_all
from shared.topology import topology
from tests.chaos.scorer import POISON
from tests.support.amqp_client import outsider, until

ROOT = Path(__file__).parents[2]
INNOCENT = 150


@contextmanager
def supervised(environment: dict[str, str], log: Path) -> Iterator[list[int]]:
    """The inference service, started again whenever it ends; how it ended."""
    ended: list[int] = []
    stopping = threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def supervise() -> None:
        while not stopping.is_set():
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.scorer"],
                    cwd=ROOT, env=environment, stdout=output, stderr=output,
                )  # fmt: skip
            started.append(process)
            ended.append(process.wait())

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield ended
    finally:
        stopping.set()
        for process in started:
            process.kill()
        thread.join(10)


def test_a_poison_message_among_a_thousand_prefetched_is_one_dead_letter(
    amqp_url: str, tmp_path: Path
) -> None:
    # Given a poison message in the middle of others, which are all taken together, and a limit of
    # two deaths: whoever is in the consumer's hands at both of them is set aside
    declare_all(amqp_url, topology(["sentiment"], (1,)))
    names = [f"item-{number}" for number in range(INNOCENT)]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
        "AMQP_URL": amqp_url,
        "HITL_DELIVERY_LIMIT": "2",
        "HITL_INFERENCE_PREFETCH": "1000",
        "HITL_RETRY_DELAYS_SECONDS": "1",
        "HITL_INFERENCE_PORT": str(free_ports(1)[0]),
    }
    with outsider(amqp_url) as program:
        for number, name in enumerate(names):
            if number == INNOCENT // 2:
                program.publish(json.dumps({"id": "poison", "text": POISON}))
            program.publish(json.dumps({"id": name, "text": f"about {name}"}))
        with supervised(environment, tmp_path / "log") as ended:
            # I expect one dead letter, and every other item scored
            until(lambda: program.ready("hitl.sentiment.inference.dlq") == 1, seconds=60)
            scored: set[str] = set()

            def all_scored() -> bool:
                for message in program.drain("hitl.router"):
                    scored.add(json.loads(message.body)["item"]["id"])
                return scored == set(names)

            until(all_scored, seconds=30, what="every innocent item scored")
            assert ended == [-9, -9], "it died twice, and then no more"
        [letter] = program.take("hitl.sentiment.inference.dlq", 1)
        assert letter.headers["x-hitl-reason"] == "delivery_limit"
        assert json.loads(letter.body)["id"] == "poison"
        assert program.drain("hitl.sentiment.inference") == []
