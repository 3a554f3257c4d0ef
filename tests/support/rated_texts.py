"""The fixture `data_dir`: human-rated texts, fetched once and kept between runs."""

import os
from pathlib import Path

import pytest

from services.feedback.training import rated_texts


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the texts: `HITL_TEST_DATA`, else `.hitl-test/data` in the repository."""
    default = Path(__file__).parents[2] / ".hitl-test" / "data"
    folder = Path(os.environ.get("HITL_TEST_DATA", default))
    rated_texts.fetch(folder)
    return folder


__all__ = ["data_dir"]
