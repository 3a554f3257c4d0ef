"""Does docs/operate/configuration.md name every setting, with its default?"""

from pathlib import Path

from hitl.commands.settings import render

WRITTEN = Path(__file__).parents[2] / "docs" / "operate" / "configuration.md"


def test_the_reference_is_current() -> None:
    # I expect it to be what `hitl settings > docs/operate/configuration.md` writes
    assert WRITTEN.read_text(encoding="utf-8") == render()
