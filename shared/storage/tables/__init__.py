"""The schema as SQLAlchemy sees it, in four parts; `shared/migrations` creates it."""

from shared.storage.tables.access import ApiToken as ApiToken
from shared.storage.tables.access import Reviewer as Reviewer
from shared.storage.tables.access import Webhook as Webhook
from shared.storage.tables.access import WebhookDelivery as WebhookDelivery
from shared.storage.tables.base import Base as Base
from shared.storage.tables.base import Json as Json
from shared.storage.tables.certificates import Certificate as Certificate
from shared.storage.tables.certificates import CertificationEpoch as CertificationEpoch
from shared.storage.tables.events import EventRow as EventRow
from shared.storage.tables.events import ItemRow as ItemRow
from shared.storage.tables.events import LedgerBlock as LedgerBlock
from shared.storage.tables.events import Outbox as Outbox
from shared.storage.tables.review import BY_URGENCY as BY_URGENCY
from shared.storage.tables.review import Highlight as Highlight
from shared.storage.tables.review import KnownItem as KnownItem
from shared.storage.tables.review import ReviewDecision as ReviewDecision
from shared.storage.tables.review import ReviewTask as ReviewTask
