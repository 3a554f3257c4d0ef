"""The schema as SQLAlchemy sees it, in four parts; `shared/migrations` creates it."""

from shared.storage.tables.access import ApiToken, Reviewer, Webhook, WebhookDelivery
from shared.storage.tables.base import Base, Json
from shared.storage.tables.certificates import Certificate, CertificationEpoch
from shared.storage.tables.events import EventRow, ItemRow, LedgerBlock, Outbox
from shared.storage.tables.review import (
    BY_URGENCY,
    Highlight,
    KnownItem,
    ReviewDecision,
    ReviewTask,
)

__all__ = [
    "BY_URGENCY",
    "ApiToken",
    "Base",
    "Certificate",
    "CertificationEpoch",
    "EventRow",
    "Highlight",
    "ItemRow",
    "Json",
    "KnownItem",
    "LedgerBlock",
    "Outbox",
    "ReviewDecision",
    "ReviewTask",
    "Reviewer",
    "Webhook",
    "WebhookDelivery",
]
