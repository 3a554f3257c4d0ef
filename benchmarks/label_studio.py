"""How fast is Label Studio at the same? One that the user runs, best on the same machine.

Makes a project of its own over the REST API and deletes it afterwards. It is given every advantage:
the ids of the tasks are known to who submits, so that nothing but annotations is asked for.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.review_browser import Stream

_CONFIG = """<View>
  <Text name="text" value="$text"/>
  <Choices name="label" toName="text" choice="single" showInLine="true">
    <Choice value="negative"/><Choice value="positive"/>
  </Choices>
</View>"""
_ANNOTATION = {
    "result": [
        {
            "from_name": "label",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": ["positive"]},
        }
    ],
    "lead_time": 1.0,
}
_RENEW_SECONDS = 120  # an access token is good for five minutes


class LabelStudio:
    """One project. Over REST its tasks are annotated from the last on, in the browser from the
    first on, so that neither meets the other's."""

    def __init__(self, url: str, token: str) -> None:
        """`token` is a personal access token (Account & Settings).

        Raises:
            SystemExit: nothing answers there, or it refuses the token.
        """
        self._url = url.rstrip("/")
        self._token = token
        self._access = ""
        self._renewed = 0.0
        self._project = 0
        self._tasks: list[int] = []
        self.errors = 0
        self.version = str(self._ask("GET", "/api/version")["release"])

    @contextmanager
    def project(self, tasks: int) -> Iterator[None]:
        """A project with so many tasks, for the length of the block."""
        made = self._ask(
            "POST", "/api/projects", {"title": "bin/bench review", "label_config": _CONFIG}
        )
        self._project = int(made["id"])
        try:
            texts = [{"text": f"A quiet film, number {n}"} for n in range(tasks)]
            path = f"/api/projects/{self._project}/import?return_task_ids=true"
            self._tasks = [int(task) for task in self._ask("POST", path, texts)["task_ids"]]
            yield
        finally:
            self._ask("DELETE", f"/api/projects/{self._project}/")

    def stream(self) -> Stream:
        """Its page that gives one task after the other: a label by its number, then submit."""
        return Stream(
            url=f"{self._url}/projects/{self._project}/data?labeling=1",
            item=".lsf-richtext__line",
            keys=("2", "Control+Enter"),
            headers=self._headers(),
        )

    async def annotate(self, people: int, seconds: float) -> float:
        """Annotations a second with so many at once; what it refuses is counted in `errors`."""
        async with self._client(people) as client:
            started = time.perf_counter()

            async def one() -> int:
                done = 0
                while self._tasks and time.perf_counter() - started < seconds:
                    done += await self._submit(client, self._tasks.pop())
                return done

            done = sum(await asyncio.gather(*(one() for _ in range(people))))
            return done / (time.perf_counter() - started)

    async def take_and_annotate(self, seconds: float) -> float:
        """Annotations a second of one person who, as its page does, asks for each task."""
        path = f"/api/dm/actions?id=next_task&project={self._project}"
        async with self._client(1) as client:
            started, done = time.perf_counter(), 0
            while time.perf_counter() - started < seconds:
                answer = await client.post(path, json={})
                if answer.status_code == httpx.codes.NOT_FOUND:
                    break  # every task has its annotation
                answer.raise_for_status()
                done += await self._submit(client, answer.json()["id"])
            return done / (time.perf_counter() - started)

    async def _submit(self, client: httpx.AsyncClient, task: int) -> bool:
        try:
            answer = await client.post(f"/api/tasks/{task}/annotations/", json=_ANNOTATION)
        except httpx.TransportError:
            answer = None
        made = answer is not None and answer.status_code == httpx.codes.CREATED
        self.errors += not made
        return made

    def _client(self, people: int) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=people)
        return httpx.AsyncClient(
            base_url=self._url, headers=self._headers(), limits=limits, timeout=60
        )

    def _headers(self) -> dict[str, str]:
        now = time.monotonic()
        if not self._access or now - self._renewed > _RENEW_SECONDS:
            try:
                answer = httpx.post(
                    f"{self._url}/api/token/refresh/", json={"refresh": self._token}, timeout=60
                )
            except httpx.TransportError as error:
                raise SystemExit(f"no Label Studio at {self._url}: {error}") from None
            if answer.status_code != httpx.codes.OK:
                raise SystemExit(
                    "Label Studio refuses the token; it must be a personal access token, "
                    "from Account & Settings"
                )
            self._access, self._renewed = answer.json()["access"], now
        return {"authorization": f"Bearer {self._access}"}

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = httpx.request(
            method, f"{self._url}{path}", json=body, headers=self._headers(), timeout=300
        )
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}
