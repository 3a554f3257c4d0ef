"""What does a reviewer's view of a task give away?"""

import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.review_ui.tasks.views import labels_of, view
from shared.events.models import Prediction
from shared.storage.tables import Highlight, ReviewTask
from tests.support.review_service import START, TRACEPARENT, requested

LABELS = ("negative", "positive")


def task(*, blind: bool, label: str, confidence: float, reason: str, queue: str) -> ReviewTask:
    event = requested(
        "i1", blind=blind, label=label, confidence=confidence, reason=reason, queue=queue
    )
    return ReviewTask(
        id=UUID(int=1),
        workflow="sentiment",
        item_id="i1",
        status="open",
        queue=queue,
        priority=round(confidence * 9),
        uncertainty=1 - confidence,
        due_at=START,
        blind=blind,
        item=event.item.model_dump(mode="json"),
        prediction=event.prediction.model_dump(mode="json"),
        routing=event.routing.model_dump(mode="json"),
        traceparent=TRACEPARENT,
        created_at=START,
        lease_token=1,
        revision=0,
        round="first",
        answers=[],
    )


opinions = st.fixed_dictionaries(
    {
        "label": st.sampled_from(LABELS),
        "confidence": st.floats(0, 1, width=16),
        "reason": st.text(),
        "queue": st.text(min_size=1, max_size=60),
    }
)


@given(opinions, opinions, st.sampled_from([(), ("positive",), LABELS]))
def test_a_blind_task_is_the_same_for_every_opinion_of_the_ai(
    one: dict[str, object], other: dict[str, object], configured: tuple[str, ...]
) -> None:
    # Given the same item with two opinions of the AI; if both are shown
    seen = [
        view(task(blind=True, **opinion), {"sentiment": configured}).model_dump_json()  # type: ignore[arg-type]
        for opinion in (one, other)
    ]
    # I expect no difference, to the byte
    assert seen[0] == seen[1]


@given(opinions)
def test_any_other_task_says_all_that_the_ai_thinks(opinion: dict[str, object]) -> None:
    shown = view(task(blind=False, **opinion), {"sentiment": LABELS})  # type: ignore[arg-type]
    assert shown.suggestion is not None
    assert shown.suggestion.label == opinion["label"]
    assert [reason.text for reason in shown.reasons] == [opinion["reason"]]
    assert json.loads(shown.model_dump_json())["queue"] == opinion["queue"]


def test_highlights_are_for_whoever_sees_the_label_that_they_are_about() -> None:
    # Given the words of an item, and five tasks about it
    opinion = {"label": "positive", "confidence": 0.7, "reason": "r", "queue": "q"}
    ordinary, blind, known, disputed, flagged = (
        task(blind=blind, **opinion)  # type: ignore[arg-type]
        for blind in (False, True, False, True, True)
    )
    known.seeded_for, known.known_label = "ada", "positive"
    for settled, label in ((disputed, "negative"), (flagged, None)):
        settled.round, settled.leased_by = "adjudication", "lead"
        said = {"key": "k", "reviewer": "ada", "round": "first", "label": label}
        settled.answers = [{**said, "reason": "odd", "note": None}]
    words = [{"start": 2, "end": 6, "weight": 0.5}]
    row = Highlight(label="positive", model_version="test@1", words=words)
    # I expect them on the ordinary one, and for the lead who settles a dispute and sees the label
    for shown, reader in ((ordinary, "ada"), (disputed, "lead")):
        pieces = view(shown, {}, reader, row).highlights
        assert pieces is not None
        assert [piece.text for piece in pieces] == ["a ", "film", " of two halves"]
    # and neither on a blind or known one, nor for anybody else, nor before they are there
    for hidden, reader, found in (
        (blind, "ada", row),
        (known, "ada", row),
        (disputed, "ada", row),
        (flagged, "lead", row),  # nobody has given a label yet
        (ordinary, "ada", None),
    ):
        assert view(hidden, {}, reader, found).highlights is None


def test_labels_come_as_configured_and_then_what_else_the_model_knows() -> None:
    prediction = Prediction(
        label="c", confidence=0.5, distribution={"c": 0.5, "b": 0.3, "a": 0.2}, model_version="m"
    )
    assert labels_of((), prediction) == ["a", "b", "c"]
    assert labels_of(("b", "z"), prediction) == ["b", "z", "a", "c"]
