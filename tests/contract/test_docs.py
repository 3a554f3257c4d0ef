"""Do the documents tell the truth about what they name?"""

import json
import re
import tomllib
from pathlib import Path

import pytest

from hitl.__main__ import COMMANDS
from services.router.policy import Policy
from shared.answers.base import KINDS, Action, AnswerSpec, Asked
from shared.answers.reading import KIND_NAMES, read_answer
from shared.clock import utc_now
from shared.events.answered import AnswerPrediction, AnswerSubmitted
from shared.events.submissions import receive_item
from shared.messages import Delivery
from shared.workflows.files import WorkflowFile

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_anchor_that_a_page_of_the_root_names_exists() -> None:
    # Given the pages that are no part of the site, whose build checks the others / I expect each
    # anchor to be a heading's, as GitHub makes it.
    for page in ROOT.glob("*.md"):
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8")):
            told = (page.parent / target if target else page).read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", told, flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in anchors, f"{page.name} links to {target}#{anchor}"


def test_every_key_of_the_review_page_is_explained() -> None:
    keys = (ROOT / "services/review_ui/screen/assets/card/keys.js").read_text(encoding="utf-8")
    named = re.findall(r'^  "?([^\s"])"?: "', keys.partition("KEYS = {")[2], flags=re.MULTILINE)
    told = (ROOT / "docs/review/keys.md").read_text(encoding="utf-8")
    assert len(named) >= 11
    assert [key for key in named if f"| `{key.upper()}`" not in told] == []


def test_every_test_that_a_failure_mode_names_exists() -> None:
    named = re.findall(
        r"`[\w/]*?(test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs/operate/failure-modes.md").read_text()
    )
    assert len(named) >= 15
    for file, function in named:
        found = [path.read_text() for path in ROOT.glob(f"tests/**/{file}")]
        assert any(f"def {function}(" in test if function else test for test in found), (
            f"{file}::{function}"
        )


def blocks(page: str, language: str) -> list[str]:
    told = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", told, flags=re.DOTALL)


def test_the_workflow_of_the_pages_is_valid() -> None:
    workflow = tomllib.loads(blocks("build/workflows.md", "toml")[0])
    certified = tomllib.loads(blocks("build/certificate.md", "toml")[0])
    content = WorkflowFile.model_validate(workflow)
    assert Policy.from_mapping(content.policy, labels=content.workflow.labels).version
    # and so is its policy with a certificate
    content = WorkflowFile.model_validate({**workflow, **certified})
    assert Policy.of_file(content).mode == "certified"


def test_the_producer_is_ten_lines() -> None:
    lines = [line for line in blocks("produce/send.md", "python")[0].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_every_command_is_named_for_who_operates() -> None:
    told = (ROOT / "docs/operate/command-line.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| (`.*?`) \|", flags=re.MULTILINE)
    first_cells = " ".join(row.findall(told))
    named = set(re.findall(r"[\w-]+", first_cells))
    assert COMMANDS.keys() - named == set()


def test_the_page_has_an_answer_of_each_kind() -> None:
    # Given the table of kinds / I expect every kind in it, and an answer that is taken
    told = (ROOT / "docs/build/answers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `(\{.*?\})` \|", told, flags=re.MULTILINE)
    assert [kind for kind, _ in rows] == list(KINDS)
    asked = Asked("Grace of ACME", "a draft", ("one", "another"), Action(name="x", arguments={}))
    for kind, value in rows:
        given = json.loads(value)
        read = read_answer(given, AnswerSpec(KIND_NAMES[kind]), asked)
        assert given.items() <= read.value.items()  # an approval is completed


def test_the_item_with_a_prediction_is_read_as_the_page_says() -> None:
    item, event = blocks("build/answers.md", "json")
    spec = AnswerSpec("form", predictions=True)
    read = receive_item(
        Delivery("", "hitl.items", "invoices", item.encode(), {}, tag=1),
        workflow="invoices",
        max_body_bytes=1_000,
        clock=utc_now,
        spec=spec,
    )
    assert isinstance(read, AnswerSubmitted)
    assert isinstance(read.prediction, AnswerPrediction)
    # And the event of the page says the same of it
    told = AnswerPrediction.model_validate(json.loads(event)["prediction"])
    assert told == read.prediction
