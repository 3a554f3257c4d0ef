"""The errors: the ways in which work can fail.

A handler raises one of those below; anything else counts as `Retryable` until the
attempts are used up and is then dead-lettered with the reason `retries_exhausted`.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

Reason = Literal[
    "not_json",  # the body is no JSON text
    "not_utf8",  # the body is no UTF-8, or is compressed
    "schema",  # JSON, but not the promised shape
    "empty_text",  # nothing to score
    "too_large",  # body above HITL_MAX_BODY_BYTES
    "unknown_workflow",  # no such workflow is configured
    "unknown_type",  # an event type or version that this program does not know
    "not_finite",  # the model answered NaN or infinity
    "unscorable",  # the model fails on this text, alone and again
    "delivery_limit",  # the consumer died on this message again and again
    "retries_exhausted",  # still failing after the last delayed retry
    "edited",  # its id is another text's already
    "rejected_by_database",  # Postgres refuses this row, and only this one
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class HitlError(Exception):
    """Base of every error that this project raises on purpose."""


class Retryable(HitlError):
    """This message failed now and may succeed later: delay it, then try again."""


class NotYet(Retryable):
    """Nothing is wrong with this message, but what it needs is not there yet: delay it, however
    often, until somebody has mended it."""


class Permanent(HitlError):
    """This message can never succeed: dead-letter it with `reason`; `detail` tells a person why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class Overloaded(HitlError):
    """What every message needs is unreachable or full: hold the batch, wait, try it again."""


class ConfigurationError(HitlError):
    """The program cannot start as configured; the text lists every problem and what to do."""


class _Invalid(Protocol):
    """pydantic's `ValidationError`, or FastAPI's."""

    def errors(self) -> Sequence[Any]: ...


def problems_of(error: _Invalid, whole: str) -> str:
    """All that does not fit, as `place: why; place: why`, without quoting what was given. `whole`
    names the place of what is wrong with all of it."""
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])) or whole}: {wrong['msg']}" for wrong in error.errors()
    )


_SAID_CHARACTERS = 500


def unforeseen(error: BaseException) -> str:
    """What a message or an event may say of an error that nobody has foreseen: its kind, and where
    it came from. Its own words may quote a person's text; they are in the log, which is not for
    ever."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    file = "/".join(Path(frames[-1].filename).parts[-3:])
    return f"{type(error).__name__} at {file}:{frames[-1].lineno}"


def reason_of(error: BaseException) -> str:
    """Why something failed, for a person: an error of ours says it itself, any other by its name
    and the beginning of what it says, on one line."""
    if isinstance(error, HitlError):
        return str(error)
    said = " ".join(str(error).split())[:_SAID_CHARACTERS]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
