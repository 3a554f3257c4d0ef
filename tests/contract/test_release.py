"""Does everything that names a release name the one of pyproject.toml?"""

import re
import tomllib

import yaml

from shared.release import ROOT, package_version


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_version_stands_in_the_project_file() -> None:
    assert package_version() == tomllib.loads(text("pyproject.toml"))["project"]["version"]


def test_the_chart_the_images_and_the_described_messages_are_of_this_release() -> None:
    chart = yaml.safe_load(text("deploy/helm/hitl-pipeline/Chart.yaml"))
    described = yaml.safe_load(text("docs/build/asyncapi.yaml"))
    label = r"org\.opencontainers\.image\.version=(\S+)"
    named = {
        "chart": chart["version"],
        "images of the chart": chart["appVersion"],
        "label of the images": " ".join(re.findall(label, text("deploy/docker/Dockerfile"))),
        "messages": described["info"]["version"],
        "the wheel's name in the documents": " ".join(
            re.findall(r"hitl_pipeline-([\d.]+)-py3", text("docs/operate/command-line.md"))
        ),
    }
    assert named == dict.fromkeys(named, package_version())


def test_the_changelog_has_this_release_first_below_what_is_not_released() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "")
    version, day = headings[1]
    assert (version, bool(day)) == (package_version(), True)
