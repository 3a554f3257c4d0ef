"""Are the rated texts fetched safely, read rightly and split without leaks?"""

import io
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.feedback.training import rated_texts
from services.feedback.training.rated_texts import Snippet
from shared.errors import ConfigurationError
from tests.conftest import cannot_run
from tests.support.rated_texts import data_dir as data_dir

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SIZES: dict[rated_texts.Domain, int] = {
    "movies": 10568,
    "amazon": 3610,
    "tweets": 4196,
    "nyt": 4946,
}


def texts(snippets: Iterable[Snippet]) -> set[str]:
    return {" ".join(snippet.text.lower().split()) for snippet in snippets}


def test_a_second_fetch_is_instant_and_says_nothing(data_dir: Path) -> None:
    # Given the data is there
    said: list[str] = []
    # If I fetch it again
    started = time.perf_counter()
    folder = rated_texts.fetch(data_dir, said.append)
    # I expect the same folder, no download, and no time spent
    assert folder.is_dir()
    assert said == []
    assert time.perf_counter() - started < 0.1


def test_an_archive_with_another_digest_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    # Given a valid archive of the right name whose content is not the published one
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as archive:
        member = tarfile.TarInfo("vaderSentiment-3.3.2/setup.py")
        archive.addfile(member, io.BytesIO(b""))
    # If I fetch, I expect an error with both digests that says what to do
    with pytest.raises(ConfigurationError, match=r"sha256 \w{64}, not 5d7c06e0.*Delete it"):
        rated_texts.fetch(tmp_path)
    # and nothing but the archive in the folder
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def test_without_any_pip_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine on which no Python has pip
    monkeypatch.setattr(rated_texts, "_pythons_with_pip", list)
    # If I fetch, I expect to read how to help myself
    with pytest.raises(ConfigurationError, match=f"no Python with pip.*copy {ARCHIVE} into"):
        rated_texts.fetch(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_reading_before_fetching_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="fetch them first"):
        rated_texts.snippets(tmp_path, "movies")


@pytest.mark.parametrize("domain", SIZES)
def test_every_domain_is_read_whole(data_dir: Path, domain: rated_texts.Domain) -> None:
    # If I read a domain
    found = rated_texts.snippets(data_dir, domain)
    # I expect as many texts as were published with a rating other than 0, each with its raters
    assert len(found) == SIZES[domain]
    assert len({snippet.id for snippet in found}) == len(found)
    for snippet in found:
        assert snippet.text.strip()
        assert "\r" not in snippet.text
        assert snippet.label == ("positive" if snippet.mean > 0 else "negative")
        assert 15 <= len(snippet.scores) <= 99
        assert all(-4 <= score <= 4 for score in snippet.scores)


def test_the_raters_scores_belong_to_their_text(data_dir: Path) -> None:
    # Amazon's two files list the texts in different orders, so rows must be matched by id.
    for snippet in rated_texts.snippets(data_dir, "amazon"):
        assert snippet.mean == pytest.approx(sum(snippet.scores) / len(snippet.scores), abs=0.01)


def test_the_first_movie_snippet_is_read_as_published(data_dir: Path) -> None:
    first = rated_texts.snippets(data_dir, "movies")[0]
    assert first.id == "movies-1"
    assert first.text.startswith("The Rock is destined to be the 21st Century's new ''Conan''")
    assert first.mean == pytest.approx(2.2667, abs=1e-4)
    assert first.scores == (3, 2, 2, 2, 0, 4, 3, 1, 2, 2, 4, 3, 3, 1, 2)


def test_the_movie_split_is_complete_disjoint_and_always_the_same(data_dir: Path) -> None:
    # If I split the movies twice
    split, again = rated_texts.split_movies(data_dir), rated_texts.split_movies(data_dir)
    # I expect the same three parts of the published sizes
    assert split == again
    assert [len(part) for part in split] == [7714, 1420, 1434]
    # that share no text, not even with other capitals or spaces
    train, calibration, held_out = map(texts, split)
    assert not train & calibration
    assert not train & held_out
    assert not calibration & held_out
    # and are about as often positive
    for part in split:
        assert 0.45 < sum(s.label == "positive" for s in part) / len(part) < 0.55


def test_two_snippets_of_one_review_are_one_group(data_dir: Path) -> None:
    groups = {s.id: s.group for s in rated_texts.snippets(data_dir, "amazon")}
    assert groups["amazon-309_7"] == groups["amazon-309_8"] == "amazon-309"


def test_two_fetches_at_once_into_an_empty_folder_end_with_the_same_texts(
    data_dir: Path, tmp_path: Path
) -> None:
    # Given an empty folder, if two processes' worth of fetches start at once
    with ThreadPoolExecutor(2) as both:
        try:
            folders = list(both.map(rated_texts.fetch, [tmp_path, tmp_path]))
        except ConfigurationError as error:
            cannot_run(str(error))
    # I expect one folder with the texts, nothing left over, and the same snippets as ever
    assert folders[0] == folders[1]
    assert list(tmp_path.iterdir()) == [folders[0]]
    assert rated_texts.snippets(tmp_path, "tweets") == rated_texts.snippets(data_dir, "tweets")
