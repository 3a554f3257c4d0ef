"""Do the producers of examples/ bring predictions that a whole pipeline takes as their pages say?

One pipeline without a model of ours; each program runs as its README says. The one on spaCy needs
`--spacy FOLDER`, where its packages are installed once.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Postgres, RabbitMQ, fresh_database, fresh_vhost
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.pipeline import ROOT, SERVICES, Pipeline, running

pytestmark = pytest.mark.timeout(300)

EXAMPLES = ROOT / "examples"
WAITING = (
    "SELECT item_id, routing->'reasons', prediction FROM review_task"
    " WHERE workflow = %s ORDER BY created_at, item_id"
)


@pytest.fixture(scope="module")
def pipeline(
    rabbitmq: RabbitMQ, postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """All workflows of the examples, as they lie there."""
    folder = tmp_path_factory.mktemp("examples")
    workflows = folder / "workflows"
    workflows.mkdir()
    for file in (*EXAMPLES.glob("*/*.toml"), *EXAMPLES.glob("*/*.schema.json")):
        shutil.copy(file, workflows)
    services = [name for name in SERVICES if name != "feedback"]
    with (
        fresh_vhost(rabbitmq) as amqp_url,
        fresh_database(postgres, migrated) as database_url,
        running(
            amqp_url, database_url, folder, services, HITL_WORKFLOWS_DIR=str(workflows)
        ) as started,
    ):
        yield started


@pytest.fixture
def consumer(pipeline: Pipeline) -> Iterator[Outsider]:
    with outsider(pipeline.amqp_url) as program:
        yield program


def produced(pipeline: Pipeline, example: str, python: str = sys.executable) -> str:
    """What the example says, for whom a warning is an error."""
    command = [python, "-W", "error", str(EXAMPLES / example / "produce.py")]
    environment = {"PATH": os.environ["PATH"], "AMQP_URL": pipeline.amqp_url}
    done = subprocess.run(
        command, env=environment, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def accepted(consumer: Outsider, workflow: str, count: int) -> list[dict[str, Any]]:
    """The decisions of the machine."""
    taken = consumer.take(f"hitl.{workflow}.accepted", count, seconds=40)
    return [json.loads(each.body) for each in taken]


def waiting(pipeline: Pipeline, workflow: str, count: int) -> dict[str, tuple[list[str], Any]]:
    """Item → the codes of its reasons and the predicted answer, of what people have to decide."""
    until(
        lambda: len(pipeline.rows(WAITING, workflow)) >= count,
        seconds=40,
        what=f"{count} tasks of {workflow}",
    )
    rows = pipeline.rows(WAITING, workflow)
    assert len(rows) == count
    return {
        item: ([reason["code"] for reason in reasons], prediction and prediction["answer"])
        for item, reasons, prediction in rows
    }


def test_moderation_accepts_what_is_clear_and_hands_threats_to_people(
    pipeline: Pipeline, consumer: Outsider
) -> None:
    assert "8 items published" in produced(pipeline, "labels_moderation")
    sure = accepted(consumer, "moderation", 5)
    answers = [event["decision"]["answer"]["labels"] for event in sure]
    assert sorted(answers) == [[], [], [], ["toxic", "insult"], ["toxic", "insult"]]
    assert {event["decision"]["model_version"] for event in sure} == {"word-list@1"}
    doubtful = list(waiting(pipeline, "moderation", 3).values())
    assert sorted(doubtful, key=str) == [
        (["always_review", "below_threshold"], {"labels": ["toxic", "insult", "threat"]}),
        (["always_review"], {"labels": ["toxic", "threat"]}),
        (["below_threshold"], {"labels": ["toxic"]}),
    ]


def test_a_language_models_form_is_taken_where_it_is_one(
    pipeline: Pipeline, consumer: Outsider
) -> None:
    said = produced(pipeline, "form_language_model")
    # Given replies of which two are no form / I expect these to come without a prediction
    assert [line for line in said.splitlines() if "without" in line] == [
        "5: inv-5, without a prediction",
        "6: inv-6, without a prediction",
    ]
    sure = {event["item"]["id"]: event for event in accepted(consumer, "invoices", 2)}
    assert sure.keys() == {"inv-1", "inv-2"}
    assert sure["inv-2"]["decision"]["answer"]["form"]["seller"] == "Bäckerei Ähre"
    assert sure["inv-2"]["decision"]["confidence"] == 0.94
    people = waiting(pipeline, "invoices", 4)
    codes = {item: reasons for item, (reasons, _) in people.items()}
    assert codes == {
        "inv-3": ["rule"],
        "inv-4": ["below_threshold"],
        "inv-5": ["no_prediction"],
        "inv-6": ["no_prediction"],
    }
    assert people["inv-3"][1]["form"]["total"] == 2261


def test_drafts_are_sent_on_where_sure_and_nobody_asks_for_money(
    pipeline: Pipeline, consumer: Outsider
) -> None:
    assert "3 items published" in produced(pipeline, "text_drafts")
    (sure,) = accepted(consumer, "drafts", 1)
    assert sure["decision"]["answer"] == {"text": sure["item"]["draft"]}
    codes = {item: reasons for item, (reasons, _) in waiting(pipeline, "drafts", 2).items()}
    assert codes == {"let-2": ["rule"], "let-3": ["below_threshold"]}


def test_which_model_is_better_is_asked_of_people_in_a_drawn_order(pipeline: Pipeline) -> None:
    assert "3 items published" in produced(pipeline, "preference_two_models")
    people = waiting(pipeline, "better", 3)
    assert set(map(str, people.values())) == {"(['no_prediction'], None)"}
    asked = "SELECT item->'candidates', item->'metadata' FROM review_task WHERE item_id = 'q-1'"
    ((candidates, metadata),) = pipeline.rows(asked)
    by_model = dict(zip(metadata["candidates"], candidates, strict=True))
    assert by_model["small@1"] == "Because of the sea."


def test_small_refunds_are_approved_by_a_rule_and_what_breaks_the_schema_is_not(
    pipeline: Pipeline, consumer: Outsider
) -> None:
    assert "4 items published" in produced(pipeline, "approval_refunds")
    (small,) = accepted(consumer, "refunds", 1)
    answer = small["decision"]["answer"]
    assert (answer["verdict"], answer["arguments"]["order"]) == ("approve", "A-17")
    codes = sorted(reasons for reasons, _ in waiting(pipeline, "refunds", 3).values())
    assert codes == [["no_prediction"], ["no_prediction"], ["no_prediction", "rule"]]


def test_spacys_names_are_where_it_found_them(
    pipeline: Pipeline, consumer: Outsider, request: pytest.FixtureRequest
) -> None:
    folder = request.config.getoption("--spacy")
    if folder is None:
        pytest.skip("spaCy and its model are 150 MB: --spacy FOLDER installs them there")
    python = Path(folder) / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = str(EXAMPLES / "spans_spacy" / "requirements.txt")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
    assert "3 items published" in produced(pipeline, "spans_spacy", str(python))
    sure = {event["item"]["text"]: event for event in accepted(consumer, "names", 2)}
    (text,) = [each for each in sure if "Hopper" in each]
    spans = sure[text]["decision"]["answer"]["spans"]
    # An emoji before them: they are counted in code points on both sides.
    found = {text[span["start"] : span["end"]]: span["label"] for span in spans}
    assert found == {
        "Grace Hopper": "PERSON", "Navy": "ORG", "Lisbon": "GPE", "Ada Lovelace": "PERSON",
    }  # fmt: skip
    ((reasons, predicted),) = waiting(pipeline, "names", 1).values()
    assert reasons == ["below_threshold"]
    assert len(predicted["spans"]) == 3
