"""The site of the documents builds strictly, has every page, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.timeout(600)  # a quarter of a minute, but not on a busy machine


def built(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    return subprocess.run([*command, str(source), str(site)], text=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `bin/docs` builds it."""
    site = tmp_path_factory.mktemp("site")
    done = built(DOCS, site)
    assert done.returncode == 0, done.stderr
    return site


def test_every_page_is_reached_from_the_first(site: Path) -> None:
    # Given a page that no table of contents names, the strict build fails; I expect all there
    pages = {page.relative_to(DOCS).with_suffix("") for page in DOCS.rglob("*.md")}
    assert {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")} >= pages


def test_the_reference_is_made_from_the_docstrings(site: Path) -> None:
    reference = (site / "build" / "reference.html").read_text()
    for name in ("shared.messages.Handler.handle", "shared.events.models.Item"):
        assert f'id="{name}"' in reference


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    # A link may lead anywhere; what a browser fetches by itself lies beside the pages.
    fetched = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["'](?:https?:)?//""")
    imported = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text()), page.name
    for sheet in site.rglob("*.css"):
        assert not imported.search(sheet.read_text()), sheet.name


def test_a_link_or_an_anchor_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    # Given one page with a wrong link and a wrong anchor
    (tmp_path / "conf.py").write_text(
        'extensions = ["myst_parser"]\nhtml_theme = "furo"\nmyst_heading_anchors = 4\n'
    )
    (tmp_path / "index.md").write_text("# One\n\n[a](gone.md) [b](#gone) [c](#one)\n")
    # I expect both to be named, and only these
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert done.stderr.count("cross-reference target not found") == 2
