"""A producer's message, read step by step: bytes → `Submission` → `Item` → `ItemSubmitted`.

Each step says why it cannot be taken, with `Permanent`. What could not be read still gets an id and
an excerpt, for the people who look into it.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.answers.base import PLAIN, Action, AnswerError, AnswerSpec
from shared.answers.reading import refuse_unclear_numbers
from shared.clock import Clock
from shared.errors import Permanent
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerSubmitted
from shared.events.envelope import attribute, parse
from shared.events.models import MAX_ID_CHARACTERS, Item, ItemSubmitted, Prediction
from shared.events.predictions import GivenPrediction, read_prediction
from shared.formats.strict_json import Unclear, refuse_unclear
from shared.messages import Delivery

_ID_IN_BODY = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_VISIBLE = re.compile(r"[^\s\0\u200b-\u200f\u2060\ufeff]")  # neither space nor zero-width
_MAX_EPOCH_SECONDS = 253402300799  # year 9999: the last that Python and Postgres agree on
_EXCERPT_CHARACTERS = 2_000
_METADATA_LEVELS = 190  # pydantic reads 200, and an item lies inside of events and answers
_PARSED_BYTES = 2_000_000  # larger ones are refused anyway; only their start is looked at


class Submission(BaseModel):
    """The body of a producer's message. Fields it does not name are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    text: str
    id: str | None = Field(default=None, min_length=1, max_length=MAX_ID_CHARACTERS)
    metadata: dict[str, JsonValue] | None = None


class AnswerSubmission(Submission):
    """The same of a workflow that asks for another kind of answer, or uses the predictions that
    come with items."""

    draft: str | None = Field(default=None, min_length=1)
    candidates: list[str] | None = None
    action: Action | None = None
    expires_at: datetime | None = Field(default=None, strict=False)
    prediction: GivenPrediction | None = None


def read_submission(
    body: bytes,
    *,
    max_body_bytes: int,
    content_encoding: str | None = None,
    spec: AnswerSpec = PLAIN,
) -> Submission:
    """The submission in the body of a message for a workflow that asks for `spec`.

    Raises:
        Permanent: `too_large`, `not_utf8`, `not_json`, `schema` or `empty_text`.
    """
    if len(body) > max_body_bytes:
        raise Permanent("too_large", f"{len(body)} bytes; at most {max_body_bytes} are read")
    kind = Submission if spec.plain else AnswerSubmission
    submission = parse(kind, body, content_encoding)
    try:
        refuse_unclear(body)
    except Unclear as error:
        raise Permanent("schema", str(error)) from None
    if _VISIBLE.search(submission.text) is None:
        raise Permanent("empty_text", "text holds nothing to score")
    return submission


def make_item(
    submission: Submission, item_id: str, received_at: datetime, spec: AnswerSpec = PLAIN
) -> Item:
    """The item of this id in a submission, as it can be stored.

    Raises:
        Permanent: `schema`.
    """
    if len(item_id) > MAX_ID_CHARACTERS:
        raise Permanent("schema", f"id: at most {MAX_ID_CHARACTERS} characters")
    if "\0" in item_id:  # with the mark that stands for NUL it would be another item's
        raise Permanent("schema", "id: has a NUL character, which cannot be stored")
    text = without_nul(submission.text)
    metadata = _clean(submission.metadata or {})
    if not isinstance(submission, AnswerSubmission):
        return Item(id=item_id, text=text, metadata=metadata, received_at=received_at)
    item = AnswerItem(
        id=item_id,
        text=text,
        metadata=metadata,
        received_at=received_at,
        draft=submission.draft and without_nul(submission.draft),
        candidates=submission.candidates and tuple(map(without_nul, submission.candidates)),
        action=submission.action,
        expires_at=submission.expires_at,
    )
    if spec.kind == "preference" and len(item.candidates or ()) < 2:
        raise Permanent("schema", "candidates: two texts at least, of which one is preferred")
    if spec.kind == "approval" and item.action is None:
        raise Permanent("schema", "action: the call to approve, {name, arguments}, is missing")
    if item.action is not None:
        try:
            refuse_unclear_numbers(item.action.arguments, "action.arguments")
        except AnswerError as error:
            raise Permanent("schema", str(error)) from None
    return item


def own_id(submission: Submission, delivery: Delivery) -> str | None:
    """The id that a message brings: the body's, else the CloudEvents id, else the message_id (which
    some clients leave empty)."""
    return submission.id or attribute(delivery, "id") or delivery.message_id or None


def prediction_in(
    submission: Submission, item: Item, spec: AnswerSpec
) -> Prediction | AnswerPrediction | None:
    """What the producer predicts, where the workflow uses it; None where nothing was brought.

    Raises:
        Permanent: `schema`.
    """
    if not isinstance(submission, AnswerSubmission) or not isinstance(item, AnswerItem):
        return None
    if not spec.predictions or submission.prediction is None:
        return None
    try:
        return read_prediction(submission.prediction, spec, item.asked)
    except AnswerError as error:
        raise Permanent("schema", f"prediction.{error}") from None


def submit(
    submission: Submission,
    item_id: str,
    delivery: Delivery,
    *,
    workflow: str,
    clock: Clock,
    spec: AnswerSpec = PLAIN,
) -> ItemSubmitted:
    """The item of this id as submitted to `workflow`, when its producer says, else now.

    Raises:
        Permanent: `schema`.
    """
    item = make_item(submission, item_id, _sent_at(delivery) or clock(), spec)
    if not isinstance(item, AnswerItem):
        return ItemSubmitted(workflow=workflow, occurred_at=item.received_at, item=item)
    return AnswerSubmitted(
        workflow=workflow,
        occurred_at=item.received_at,
        item=item,
        prediction=prediction_in(submission, item, spec),
    )


def receive_item(
    delivery: Delivery,
    *,
    workflow: str,
    max_body_bytes: int,
    clock: Clock,
    spec: AnswerSpec = PLAIN,
) -> ItemSubmitted:
    """All of these steps; an item that brings no id gets a new one.

    Raises:
        Permanent: `too_large`, `not_utf8`, `not_json`, `schema` or `empty_text`.
    """
    submission = read_submission(
        delivery.body,
        max_body_bytes=max_body_bytes,
        content_encoding=delivery.content_encoding,
        spec=spec,
    )
    item_id = own_id(submission, delivery) or str(uuid4())
    return submit(submission, item_id, delivery, workflow=workflow, clock=clock, spec=spec)


def guess_id(delivery: Delivery) -> str:
    """An id for a message that could not be read: one it seems to bring, else a hash of its body,
    so that a redelivery of the same bytes is the same failure."""
    for candidate in (
        _id_in(delivery.body),
        attribute(delivery, "id"),
        attribute(delivery, "subject"),
        delivery.message_id,
    ):
        if candidate and len(candidate) <= MAX_ID_CHARACTERS and "\0" not in candidate:
            return candidate
    return f"unreadable-{hashlib.sha256(delivery.body).hexdigest()[:32]}"


def _id_in(body: bytes) -> str | None:
    """The id in an item or an event; where the JSON is broken, whatever looks like one. An "id" in
    the metadata is somebody else's: the failure would be told of the wrong item."""
    try:
        given = json.loads(body) if len(body) <= _PARSED_BYTES else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        found = _ID_IN_BODY.search(body[:100_000])
        return found[1].decode("utf-8", "replace") if found else None
    item = given.get("item")
    for fields in (given, item if isinstance(item, dict) else {}):
        if isinstance(fields.get("id"), str):
            return str(fields["id"]).encode("utf-8", "replace").decode()  # half an emoji, too
    return None


def excerpt(delivery: Delivery) -> str:
    """The start of a body that could not be read, for people."""
    return without_nul(delivery.body[:_EXCERPT_CHARACTERS].decode("utf-8", "replace"))


def without_nul(text: str) -> str:
    """NUL becomes U+FFFD: Postgres stores no NUL, and a visible mark beats a silent loss."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _clean(value: dict[str, JsonValue], levels: int = _METADATA_LEVELS) -> dict[str, JsonValue]:
    cleaned = {without_nul(key): _clean_value(entry, levels - 1) for key, entry in value.items()}
    if len(cleaned) < len(value):
        raise Permanent("schema", "metadata: two names are the same but for a NUL character")
    return cleaned


def _clean_value(value: JsonValue, levels: int) -> JsonValue:
    if isinstance(value, str):
        return without_nul(value)
    if isinstance(value, list | dict) and not levels:
        raise Permanent("schema", f"metadata: at most {_METADATA_LEVELS} levels deep")
    if isinstance(value, list):
        return [_clean_value(entry, levels - 1) for entry in value]
    if isinstance(value, dict):
        return _clean(value, levels)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)  # JSON has no NaN and no infinity; some writers send them all the same
    return value


def _sent_at(delivery: Delivery) -> datetime | None:
    """The producer's AMQP timestamp, where it is a time that can be stored."""
    if delivery.timestamp is None or not 0 < delivery.timestamp <= _MAX_EPOCH_SECONDS:
        return None
    return datetime.fromtimestamp(delivery.timestamp, UTC)
