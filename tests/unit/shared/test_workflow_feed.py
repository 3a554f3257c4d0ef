"""Does a service notice a workflow that is added, and leave alone what runs?"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.errors import ConfigurationError, Overloaded
from shared.service.settings import Settings
from shared.workflows.feed import MAX_RETRY_SECONDS, RETRY_SECONDS, WorkflowFeed
from shared.workflows.files import Workflow, WorkflowFile


class Service:
    """One that begins with workflows, or does not want to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.changes: list[WorkflowFile] = []
        self.problem: BaseException | None = None
        self.broken: set[str] = set()  # the workflows that the problem is of; none: of all
        self.tries: list[float] = []
        self.now = 0.0

    def begin(self, content: WorkflowFile) -> None:
        name = content.workflow.name
        if self.problem is not None and name in (self.broken or {name}):
            self.tries.append(self.now)
            raise self.problem
        self.begun.append(name)

    def change(self, content: WorkflowFile) -> None:
        if content.policy.get("threshold") == "high":
            raise ConfigurationError("threshold: not a number")
        self.changes.append(content)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def feed_of(service: Service, tmp_path: Path) -> Callable[..., WorkflowFeed]:
    def feed(**settings: object) -> WorkflowFeed:
        chosen = Settings(workflows_dir=tmp_path, **settings)
        return WorkflowFeed(chosen, service.begin, service.change, now=lambda: service.now)

    return feed


def write(folder: Path, name: str, more: str = "") -> None:
    (folder / f"{name}.toml").write_text(f'[workflow]\nname = "{name}"\n{more}')


def refused(name: str) -> float | None:
    return REGISTRY.get_sample_value("hitl_policy_refused", {"workflow": name})


def test_a_new_file_is_begun_with_once_it_stands_still(
    service: Service, feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    write(tmp_path, "first")
    feed = feed_of()
    assert list(feed.workflows) == service.begun == ["first"]
    # If a file comes, and grows between two looks
    (tmp_path / "second.toml").write_text("[workflow]\n")
    feed.look()
    write(tmp_path, "second")
    feed.look()
    # I expect nothing to be read of it yet; once it stands still, it is begun with, once.
    assert service.begun == ["first"]
    feed.look()
    feed.look()
    assert service.begun == ["first", "second"]
    assert set(feed.workflows) == {"first", "second"}
    assert refused("second") == 0


def test_whoever_iterates_sees_the_workflows_as_they_were(
    feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    write(tmp_path, "first")
    feed = feed_of()
    names = iter(feed.workflows)
    feed.workflows.add(Workflow(name="second"))
    assert list(names) == ["first"]
    assert len(feed.workflows) == 2


def test_a_broken_file_is_said_once_and_begun_with_when_it_is_mended(
    service: Service,
    feed_of: Callable[..., WorkflowFeed],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a good file and a broken one at the start
    write(tmp_path, "good")
    write(tmp_path, "bad", "labels = 7\n")
    feed = feed_of()
    # I expect the good one served, the other named and shown; however often it is looked at,
    assert list(feed.workflows) == ["good"]
    for _ in range(5):
        service.now += RETRY_SECONDS
        feed.look()
    [said] = [
        r for r in caplog.records if r.message == "workflow rejected; the others are still served"
    ]
    assert "bad.toml" in str(vars(said)["problem"])
    assert refused("bad") == 1
    # it is one line; and once mended, it is served.
    write(tmp_path, "bad")
    feed.look()
    feed.look()
    assert set(feed.workflows) == {"good", "bad"}
    assert refused("bad") == 0


def test_while_no_workflow_can_be_served_the_reasons_are_said_and_a_mended_one_is_begun_with(
    service: Service, feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    # Given two files, of which none can be used
    write(tmp_path, "one", "labels = 7\n")
    write(tmp_path, "two", 'colour = "red"\n')
    feed = feed_of()
    # I expect both to be named, and
    problem = str(feed.problem())
    assert "one.toml" in problem
    assert "two.toml" in problem
    assert (refused("one"), refused("two")) == (1, 1)
    # if one is mended, that one served.
    write(tmp_path, "two")
    feed.look()
    feed.look()
    assert service.begun == ["two"]
    assert feed.problem() is None


def test_without_any_file_there_is_no_start(feed_of: Callable[..., WorkflowFeed]) -> None:
    with pytest.raises(ConfigurationError, match="no workflow"):
        feed_of()


def test_a_workflow_whose_queues_are_refused_later_is_not_served_until_it_is_begun_with_again(
    service: Service, feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    # Given two workflows that are served / If RabbitMQ refuses the queues of one
    write(tmp_path, "first")
    write(tmp_path, "second")
    feed = feed_of()
    feed.refuse("second", ConfigurationError("a queue is another's"))
    # I expect it to be out at once, with its reason, and shown at the next look,
    assert list(feed.workflows) == ["first"]
    assert feed.refused() == {"second": "a queue is another's"}
    feed.look()
    assert refused("second") == 1
    assert feed.refused() == {"second": "a queue is another's"}
    # its items to wait for it, and it to be begun with again after a while.
    assert "second" in feed
    service.begun.clear()
    feed.look()
    assert service.begun == []
    service.now += RETRY_SECONDS
    feed.look()
    assert service.begun == ["second"]
    assert feed.refused() == {}
    assert refused("second") == 0


class PanicException(BaseException):
    """What a library in Rust raises where it should have returned an error."""


@pytest.mark.parametrize(
    "problem",
    [
        ConfigurationError("no model"),
        ValueError("header too large\nfor a file of 134 bytes"),
        KeyError("hidden_size"),
        RecursionError("maximum recursion depth exceeded"),
        MemoryError(),
        PanicException("called `Option::unwrap()` on a `None` value"),
    ],
)
def test_whatever_one_workflow_fails_of_all_others_are_served_and_it_is_tried_again(
    service: Service,
    feed_of: Callable[..., WorkflowFeed],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    problem: BaseException,
) -> None:
    # Given a workflow that cannot be begun with, between two others, at the start
    service.problem, service.broken = problem, {"b-broken", "e-broken"}
    for name in ("a", "b-broken", "c"):
        write(tmp_path, name)
    feed = feed_of()
    # and one more that comes later, between two others that come with it
    for name in ("d", "e-broken", "f"):
        write(tmp_path, name)
    feed.look()
    feed.look()
    # I expect all others to be served, and the broken ones to be shown with their reason, once.
    assert service.begun == ["a", "c", "d", "f"]
    assert (refused("b-broken"), refused("e-broken"), refused("c")) == (1, 1, 0)
    why = feed.refused()
    assert set(why) == {"b-broken", "e-broken"}
    assert "\n" not in why["b-broken"]
    assert type(problem).__name__ in why["b-broken"] or why["b-broken"] == "no model"
    said = [
        r for r in caplog.records if r.message == "workflow rejected; the others are still served"
    ]
    assert [vars(record)["workflow"] for record in said] == ["b-broken", "e-broken"]
    # Each is tried again, less and less often,
    service.broken = {"b-broken"}
    service.tries.clear()
    for _ in range(1_000):
        service.now += RETRY_SECONDS / 10
        feed.look()
    pauses = [after - before for before, after in pairwise(service.tries)]
    assert pauses == sorted(pauses)
    assert len(service.tries) < 10
    assert max(pauses) <= MAX_RETRY_SECONDS + 1
    assert "e-broken" in service.begun
    # at once where its file is changed, and served when what was wrong is mended.
    service.problem = None
    write(tmp_path, "b-broken", 'guideline = "mended"\n')
    feed.look()
    feed.look()
    assert service.begun[-1] == "b-broken"
    assert feed.refused() == {}


def test_a_file_that_no_reader_can_take_is_refused_like_any_other(
    feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    # Given values nested more deeply than Python recurses, in a file of a workflow that is served
    write(tmp_path, "good")
    write(tmp_path, "deep", "labels = " + "[" * 5_000 + "]" * 5_000 + "\n")
    feed = feed_of()
    assert list(feed.workflows) == ["good"]
    assert "nested too deeply" in feed.refused()["deep"]


@pytest.mark.parametrize("problem", [Overloaded("no broker"), ConfigurationError("no model")])
def test_what_the_service_cannot_begin_with_yet_is_tried_again(
    service: Service, feed_of: Callable[..., WorkflowFeed], tmp_path: Path, problem: Exception
) -> None:
    write(tmp_path, "first")
    feed = feed_of()
    service.problem = problem
    write(tmp_path, "second")
    feed.look()
    feed.look()
    assert refused("second") == 1
    # Given that what was missing is there now: not at once, but after a while it is served.
    service.problem = None
    feed.look()
    assert service.begun == ["first"]
    service.now += RETRY_SECONDS
    feed.look()
    assert service.begun == ["first", "second"]


def test_a_file_that_goes_changes_nothing_until_the_next_start(
    service: Service,
    feed_of: Callable[..., WorkflowFeed],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(tmp_path, "first")
    write(tmp_path, "bad", "labels = 7\n")
    feed = feed_of()
    # If both files go
    (tmp_path / "first.toml").unlink()
    (tmp_path / "bad.toml").unlink()
    feed.look()
    feed.look()
    # I expect the one to be served on, which is said, and the other to be forgotten.
    assert list(feed.workflows) == ["first"]
    assert "workflow file deleted" in caplog.text
    assert "file deleted" in feed.refused()["first"]
    assert (refused("first"), refused("bad")) == (1, 0)
    # If the first comes back, I expect it not to be begun with again.
    write(tmp_path, "first")
    feed.look()
    feed.look()
    assert service.begun == ["first"]
    assert (feed.refused(), refused("first")) == ({}, 0)


def test_what_people_are_told_follows_the_file_and_labels_wait_for_the_next_start(
    service: Service,
    feed_of: Callable[..., WorkflowFeed],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a workflow that is served / If its file gets a guideline, a share of second reviews and
    # other labels at once
    write(tmp_path, "first", 'labels = ["bad", "good"]\n')
    feed = feed_of()
    more = 'labels = ["a", "b"]\nguideline = "Be kind."\n[review]\nsecond_review_share = 0.5\n'
    write(tmp_path, "first", more)
    feed.look()
    assert feed.workflows["first"].guideline == ""  # it may be half-written
    feed.look()
    feed.look()
    # I expect people to be told and checked by the file; the labels as they were, and once, by
    # name, that they wait. Nothing is begun with again.
    flow = feed.workflows["first"]
    assert (flow.guideline, flow.review.second_review_share) == ("Be kind.", 0.5)
    assert flow.labels == ("bad", "good")
    [said] = [one for one in caplog.records if "restart all services" in one.message]
    assert vars(said)["workflow"] == "first"
    assert service.begun == ["first"]
    # The service gets the whole file, once, with the labels of the start.
    [content] = service.changes
    assert content.workflow == flow
    # If the file breaks, or its policy / I expect that said, and nothing to change.
    for bad, why in (("labels = 7\n", "first.toml"), ('[policy]\nthreshold = "high"', "threshold")):
        write(tmp_path, "first", bad)
        feed.look()
        feed.look()
        assert feed.workflows["first"] is flow
        assert why in str(vars(caplog.records[-1])["problem"])
        assert why in feed.refused()["first"]
        assert refused("first") == 1
    # If it is mended, I expect that it is no longer refused.
    write(tmp_path, "first", more)
    feed.look()
    feed.look()
    assert (feed.refused(), refused("first")) == ({}, 0)


def test_where_the_settings_name_the_workflows_no_other_comes(
    service: Service, feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    write(tmp_path, "first")
    feed = feed_of(workflows=("first",))
    write(tmp_path, "second")
    feed.look()
    feed.look()
    assert service.begun == ["first"]
    assert "second" not in feed


def test_a_workflow_is_known_from_its_file_on(
    feed_of: Callable[..., WorkflowFeed], tmp_path: Path
) -> None:
    # Given a file that no look has found yet: its queues may have been declared by others
    write(tmp_path, "first")
    feed = feed_of()
    write(tmp_path, "second")
    assert "second" in feed
    # I expect no name to lead out of the folder, and what is refused to count: its queue may be
    # there, and its items wait in it.
    assert "../first" not in feed
    write(tmp_path, "third", "labels = 7\n")
    feed.look()
    feed.look()
    assert "third" in feed
    assert "fourth" not in feed
