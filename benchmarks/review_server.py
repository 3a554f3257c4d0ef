"""Which server does benchmarks/review_desk.py start? The web application, with one account.

As in production but for intake and relay, which wait for a broker. Prints its address, then serves.
"""

import os

import uvicorn

from services.review_ui.app import make_app, make_context
from services.review_ui.server import listen
from shared.clock import utc_now
from shared.errors import Overloaded
from shared.service.lifecycle import Lifecycle, respond
from shared.service.settings import Settings
from shared.storage.database import connect
from shared.workflows.files import Workflow


def _no_broker(*_: object) -> None:
    raise Overloaded("the benchmark has no broker")


SENTIMENT = Workflow(name="sentiment", labels=("negative", "positive"), guideline="")
LABELS = Workflow(
    name="labels",
    answer="labels",
    model="none",
    labels=("toxic", "insult", "threat", "obscene", "spam", "off topic"),
)
SPANS = Workflow(name="spans", answer="spans", model="none", labels=("PER", "ORG", "LOC", "MISC"))


def main() -> None:
    settings = Settings.from_environment(
        {**os.environ, "HITL_SESSION_SECRET": "a secret of the benchmark, 32 bytes or more"}
    )
    engine = connect(os.environ["DATABASE_URL"], pool_size=16)
    lifecycle = Lifecycle()
    context = make_context(
        settings,
        {each.name: each for each in (SENTIMENT, LABELS, SPANS)},
        engine,
        utc_now,
        lambda path: respond(lifecycle, path),
        _no_broker,
    )
    with context.transaction() as session:
        context.accounts.create(session, "bench", "reviewer", "a long enough password")
    bound = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(make_app(context), log_config=None, access_log=False, ws="none")
    uvicorn.Server(config).run([bound])


if __name__ == "__main__":
    main()
