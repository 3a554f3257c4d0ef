"""Who plays the reviewers? The data's own raters, through the API that the page uses.

Each person has an account and answers every item they are handed with the sign of one recorded
rating of it, drawn by a hash of the person and the item; the lead settles disputes with the sign of
the published mean.
"""

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from uuid import uuid4

import httpx
from sqlalchemy.orm import Session

from services.feedback.training.rated_texts import Snippet
from services.review_ui.auth.accounts import Accounts
from shared.clock import utc_now
from shared.storage.database import connect

PASSWORD = "a long enough password"
CLAIM = 20
PAUSE_SECONDS = 0.2


class Raters:
    """People at work until told to stop; `texts` by item id are all that they may meet."""

    def __init__(self, url: str, texts: Mapping[str, Snippet], *, people: int = 3) -> None:
        self._url = url
        self._texts = texts
        self._names = [*(f"rater-{n + 1}" for n in range(people)), "lead"]
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self.decided = dict.fromkeys(self._names, 0)
        self.problem: str | None = None

    @property
    def reviews(self) -> int:
        """Answers given so far."""
        return sum(self.decided.values())

    def register(self, database_url: str) -> None:
        """Their accounts."""
        engine = connect(database_url, pool_size=1)
        with Session(engine) as session, session.begin():
            for name in self._names:
                Accounts(utc_now).create(
                    session, name, "lead" if name == "lead" else "reviewer", PASSWORD
                )
        engine.dispose()

    def start(self) -> None:
        for name in self._names:
            thread = threading.Thread(target=self._run, args=(name,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Returns when all have gone home.

        Raises:
            RuntimeError: one of them could not work.
        """
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
        if self.problem is not None:
            raise RuntimeError(self.problem)

    def _run(self, name: str) -> None:
        try:
            self._work(name)
        except Exception as error:
            self.problem = f"{name}: {type(error).__name__}: {error}"

    def _work(self, name: str) -> None:
        with httpx.Client(base_url=f"{self._url}/api/v1", timeout=60) as client:
            logged_in = client.post("/login", json={"name": name, "password": PASSWORD})
            logged_in.raise_for_status()
            client.headers["cookie"] = logged_in.headers["set-cookie"].split(";")[0]
            wanted = {"count": CLAIM} | ({"only": "disputed"} if name == "lead" else {})
            while not self._enough.is_set():
                claimed = client.post("/tasks/claim", json=wanted)
                claimed.raise_for_status()
                tasks = claimed.json()["tasks"]
                if not tasks:
                    time.sleep(PAUSE_SECONDS)
                for task in tasks:
                    body = {
                        "key": str(uuid4()),
                        "lease_token": task["lease_token"],
                        "action": "correct",
                        "label": self._answer(name, self._texts[task["item_id"]]),
                        "seconds": 1.0,
                    }
                    client.post(f"/tasks/{task['id']}/decision", json=body).raise_for_status()
                    self.decided[name] += 1

    def _answer(self, name: str, snippet: Snippet) -> str:
        if name == "lead":
            return snippet.label
        return rating(name, snippet)


def rating(name: str, snippet: Snippet) -> str:
    """The label that one recorded rating amounts to; a rating of 0 leaves it to the next one."""
    scores: Sequence[int] = [score for score in snippet.scores if score]
    if not scores:
        return snippet.label
    digest = hashlib.blake2b(f"{name}:{snippet.id}".encode(), digest_size=4).digest()
    return "positive" if scores[int.from_bytes(digest, "big") % len(scores)] > 0 else "negative"
