"""Does every snippet of the documents do what it says? Each is run, or read by what it is for.

A new kind of snippet fails here until somebody has said how it is tried.
"""

import ast
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tomllib
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from sqlalchemy import Engine
from typer.testing import CliRunner

from hitl.commands.export import app as export_app
from services.router.policy import Policy
from shared.answers.base import KINDS, Kind
from shared.clock import utc_now
from shared.events.submissions import receive_item
from shared.formats.example import Example
from shared.formats.peers.label_studio_regions import regions
from shared.formats.rows_out import csv_cell
from shared.messages import Delivery
from shared.messaging.connection import declare_all
from shared.topology import accepted_queue, inference_queue, topology
from shared.workflows.files import ReviewRules, WorkflowFile
from tests.support.amqp_client import outsider, until
from tests.support.filled_database import log
from tests.support.review_data import ReviewRoom
from tests.support.review_service import requested, take_in

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What a reader would take for a missing value or a number.
LABELS = ("NA", "None", "null", "007", "nan")


class Snippet(NamedTuple):
    """A block of code in a document."""

    page: str
    line: int
    language: str
    code: str


def snippets(*languages: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        told = page.read_text(encoding="utf-8")
        for block in re.finditer(
            r"^```([\w{}-]*)\n(.*?)^```", told, flags=re.DOTALL | re.MULTILINE
        ):
            line = told.count("\n", 0, block.start()) + 1
            found.append(Snippet(page.name, line, block[1], block[2]))
    return [each for each in found if not languages or each.language in languages]


def named(snippet: Snippet) -> str:
    return f"{snippet.page}:{snippet.line}"


def of(page: str, word: str, *languages: str) -> str:
    """The snippet of that page in which the word is; Python if no language is named."""
    some = snippets(*languages or ("python",))
    (found,) = [s.code for s in some if s.page == page and word in s.code]
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in the checkout, with this Python and these variables."""
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {"PATH": paths, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)


def test_the_producer_has_its_item_taken(amqp_url: str) -> None:
    # Given a broker / When somebody runs its lines, twice, for whom a warning is an error
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", of("send.md", "amqp.Connection")],
            env={"AMQP_URL": amqp_url},
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    # I expect the item to lie there, safe, and to be read as it was meant
    with outsider(amqp_url) as program:
        first, _ = program.take(inference_queue("sentiment"), 2)
    assert first.persistent
    read = receive_item(
        Delivery("", "hitl.items", "sentiment", first.body, first.headers, tag=1),
        workflow="sentiment",
        max_body_bytes=1_000,
        clock=utc_now,
    )
    assert read.item.id == "review-17"
    assert read.item.metadata == {"page": 3}
    # If there is no such place, I expect an error that says so
    lost = subprocess.run(
        [sys.executable, "-c", of("send.md", "amqp.Connection").replace("hitl.items", "nowhere")],
        env={"AMQP_URL": amqp_url},
        text=True,
        capture_output=True,
    )
    assert lost.returncode == 1
    assert "no exchange 'nowhere'" in lost.stderr


def test_the_lines_for_a_shell_send_an_item(amqp_url: str) -> None:
    # Given a broker / If I type what the README and the page on sending say
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    typed = of("README.md", "bin/hitl publish", "console").splitlines()[0].removeprefix("$ ")
    for line in (typed, of("send.md", "amqp-publish", "sh")):
        done = run("bash", "-c", line.replace("bin/hitl", "python3 -m hitl"), AMQP_URL=amqp_url)
        assert done.returncode == 0, done.stderr
    # I expect both items to lie there, persistent
    with outsider(amqp_url) as program:
        taken = program.take(inference_queue("sentiment"), 2)
    assert all(each.persistent for each in taken)
    assert {json.loads(each.body)["id"] for each in taken} == {"review-17", "review-18"}


def test_the_reader_of_decisions_prints_and_acks_them(amqp_url: str) -> None:
    # Given a decision on the queue of the accepted
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    golden = json.loads((ROOT / "tests/contract/golden/item.accepted.v1.json").read_text())
    key = "item.accepted.sentiment"
    with outsider(amqp_url) as program:
        program.publish(json.dumps(golden["body"]), exchange="hitl.events", routing_key=key)
        until(lambda: program.ready(accepted_queue("sentiment")) == 1)
        # If somebody runs the page's lines until they have said what they took
        code = of("decisions.md", "drain_events")
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            env={"AMQP_URL": amqp_url},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as reading:
            assert reading.stdout is not None
            assert reading.stdout.readline().split() == ["order-17/é", "positive", "ai"]
            # (what it cannot read ends it)
            program.publish("{}", exchange="hitl.events", routing_key=key)
            reading.wait(20)
        # I expect the decision to be gone for good, and what was not acked to be there still
        assert [each.body for each in program.take(accepted_queue("sentiment"), 1)] == [b"{}"]
        assert program.get(accepted_queue("sentiment")) is None


def test_every_snippet_is_of_a_kind_that_is_tried() -> None:
    kinds = {"python", "toml", "json", "yaml", "xml", "sh", "bash", "console", ""}
    kinds |= {"{toctree}", "{eval-rst}"}  # the site's own, which test_site.py builds
    kinds |= {"mermaid"}  # a picture, which tests.support.message_walk makes from the code
    assert {each.language for each in snippets()} <= kinds


def test_the_labelling_configuration_shows_what_the_tasks_hold() -> None:
    # Given the configuration on the page / I expect the control, and the object that it is about,
    # of everything that a task of any kind says
    shown = ElementTree.fromstring(of("export.md", "<Pairwise", "xml"))  # noqa: S314 - our own
    controls = {
        (each.get("name"), each.tag.lower(), to)
        for each in shown.iter()
        for to in (each.get("toName") or "").split(",")
    }
    answers: dict[Kind, list[dict[str, Any]]] = {
        "label": [{"label": "toxic"}],
        "labels": [{"labels": ["toxic"]}],
        "spans": [{"spans": [{"start": 0, "end": 1, "label": "PER"}]}],
        "form": [{"form": {}}],
        "text": [{"text": "x"}],
        "preference": [{"preferred": 1}, {"preferred": None}],
        "approval": [{"verdict": "reject", "arguments": {}, "reply": "no"}],
    }
    assert answers.keys() == set(KINDS)
    item = {"text": "x", "candidates": ["a", "b"]}
    for kind, given in answers.items():
        for answer in given:
            for region in regions(Example(kind, item), answer):
                assert (region["from_name"], region["type"], region["to_name"]) in controls


@pytest.mark.parametrize("snippet", snippets("python"), ids=named)
def test_python_is_python(snippet: Snippet) -> None:
    ast.parse(snippet.code)


@pytest.mark.parametrize("snippet", snippets("sh", "bash"), ids=named)
def test_shell_is_shell(snippet: Snippet) -> None:
    read = subprocess.run(["bash", "-n"], input=snippet.code, text=True, capture_output=True)
    assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("snippet", snippets("console"), ids=named)
def test_what_is_typed_at_a_prompt_is_shell(snippet: Snippet) -> None:
    typed = re.findall(r"^\$ ((?:.*\\\n)*.*)", snippet.code, flags=re.MULTILINE)
    assert typed
    read = subprocess.run(["bash", "-n"], input="\n".join(typed), text=True, capture_output=True)
    assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("snippet", snippets("toml", "json", "yaml"), ids=named)
def test_data_can_be_read(snippet: Snippet) -> None:
    match snippet.language:
        case "toml":
            content = tomllib.loads(snippet.code)
            workflow = {"workflow": {"name": "tickets", "labels": ["complaint", "question"]}}
            if "schema" in content.get("workflow", {}):  # of a file that is not here
                content["workflow"]["schema"] = {}
            Policy.of_file(WorkflowFile.model_validate({**workflow, **content}))
        case "json":
            json.loads(snippet.code)
        case _:
            assert all(yaml.safe_load_all(snippet.code))


@pytest.fixture
def exported(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Item → label, all odd, in files that docs/build/export.md makes; they lie where we are."""
    room = ReviewRoom(engine, ReviewRules())
    answers: dict[str, str] = {}
    for place, label in enumerate(LABELS):
        asked = requested(f"00{place}", text="=1+1", label=label, confidence=0.1 + 0.2 + place / 9)
        asked = asked.model_copy()
        log(engine, asked)
        take_in(engine, asked)
        (task,) = room.claim("NA")
        given = "negative" if label == "positive" else "positive"
        answers[asked.item.id] = given
        room.decide("NA", task, given)
        room.clock.turn(0.5)
        log(engine, *room.published_at_last())
    monkeypatch.chdir(tmp_path)
    for what, form in (("corrections", "csv"), ("labels", "jsonl"), ("labels", "parquet")):
        words = [what, "--format", form, "--out", f"{what}.{form}"]
        url = engine.url.render_as_string(hide_password=False)
        done = CliRunner().invoke(export_app, words, env={"DATABASE_URL": url})
        assert done.exit_code == 0, done.output
    return answers


def test_pandas_reads_our_files_without_losing_a_value(exported: dict[str, str]) -> None:
    # Given files with ids, labels and names that look like numbers and missing values
    there: dict[str, object] = {}
    # If I read them as docs/build/export.md says
    exec(of("export.md", "read_csv"), there)  # noqa: S102 - the snippet is what is tried
    exec(of("export.md", "read_json"), there)  # noqa: S102 - as above
    exec(of("export.md", "as_it_was"), there)  # noqa: S102 - as above
    # I expect from each the same, and everything as it was.
    expected = [0.1 + 0.2 + place / 9 for place in range(len(LABELS))]
    for name in ("rows", "lines", "table"):
        found = there[name]
        assert isinstance(found, pd.DataFrame)
        assert list(found["item_id"]) == list(exported)
        assert list(found["ai_label"]) == list(LABELS)
        assert list(found["correct_label"]) == list(exported.values())
        assert set(found["reviewer"]) == {"NA"}
        assert list(found["ai_confidence"]) == expected
        assert list(found["decided_at"]) == list(there["table"]["decided_at"])  # type: ignore[index]
    as_it_was = there["as_it_was"]
    assert callable(as_it_was)
    assert {as_it_was(cell) for cell in there["rows"]["input_text"]} == {"=1+1"}  # type: ignore[index]
    for told in ("=1", "'=1", "''-", "'quoted'", "plain", "", "\uff1d"):
        assert as_it_was(csv_cell(told)) == told


def test_a_webhook_is_checked_as_the_page_says() -> None:
    there: dict[str, object] = {}
    exec(of("webhooks.md", "verified"), there)  # noqa: S102 - the snippet is what is tried
    verified = there["verified"]
    assert callable(verified)
    body, at = b'{"type": "item.reviewed"}', "1700000000"
    digest = hmac.new(b"a key", f"msg_1.{at}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }
    secret = f"whsec_{b64encode(b'a key').decode()}"
    assert verified(headers, body, secret, now=int(at))["type"] == "item.reviewed"
    with pytest.raises(ValueError, match="signature"):
        verified(headers, body + b" ", secret, now=int(at))
