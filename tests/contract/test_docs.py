"""Do the documents tell the truth about what they name?"""

import re
import tomllib
from pathlib import Path

import pytest

from services.router.policy import Policy
from shared.workflows.files import WorkflowFile

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_test_that_a_failure_mode_names_exists() -> None:
    named = re.findall(
        r"`(test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs/operate/failure-modes.md").read_text()
    )
    assert len(named) >= 15
    for file, function in named:
        found = [path.read_text() for path in ROOT.glob(f"tests/**/{file}")]
        assert any(f"def {function}(" in test if function else test for test in found), (
            f"{file}::{function}"
        )


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def test_the_workflow_in_the_readme_is_valid() -> None:
    workflow, certified = map(tomllib.loads, blocks("toml"))
    content = WorkflowFile.model_validate(workflow)
    assert Policy.from_mapping(content.policy, labels=content.workflow.labels).version
    # and so is its policy with a certificate
    content = WorkflowFile.model_validate({**workflow, **certified})
    assert Policy.of_file(content).mode == "certified"


def test_the_producer_in_the_readme_is_ten_lines() -> None:
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 10
