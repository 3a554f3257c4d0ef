"""Every metric of the product, declared once, with its unit and its labels.

No ids as labels: each label takes a bounded set of values.
"""

from bisect import bisect_left
from collections import Counter as Count
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)

# The worker: every message in, every message out.
MESSAGES_CONSUMED = Counter(
    "hitl_messages_consumed_total",
    "Deliveries taken off a queue and settled: ok, retried, dead_lettered.",
    ["queue", "outcome"],
)
MESSAGES_PUBLISHED = Counter(
    "hitl_messages_published_total",
    "Publishes answered by the broker: confirmed, nacked, returned, lost with the connection.",
    ["destination", "outcome"],
)
MESSAGE_PROCESS_DURATION = Histogram(
    "hitl_message_process_duration_seconds",
    "Time in the handler, for a whole batch.",
    ["queue"],
    buckets=_SECONDS,
)
PUBLISH_CONFIRM_DURATION = Histogram(
    "hitl_publish_confirm_duration_seconds",
    "From handing a batch to the connection until the broker has confirmed all of it.",
    buckets=_SECONDS,
)
MESSAGES_DEAD_LETTERED = Counter(
    "hitl_messages_dead_lettered_total", "Messages set aside for a person.", ["queue", "reason"]
)
RETRIES = Counter("hitl_retries_total", "Messages delayed to be tried again.", ["queue"])
MESSAGES_IN_PROGRESS = Gauge(
    "hitl_messages_in_progress",
    "Deliveries held by this process: being handled, or waiting for their confirms.",
    ["queue"],
)
BREAKER_OPEN = Gauge(
    "hitl_dead_letter_breaker_open",
    "1 while consuming is paused because too much was dead-lettered in a row.",
    ["queue"],
)
CONNECTION_UP = Gauge(
    "hitl_broker_connection_up", "1 while connected to RabbitMQ and not blocked by it.", ["name"]
)
RIGHTS_LOST = Gauge(
    "hitl_broker_rights_lost",
    "1 where RabbitMQ does not hold this program's user to its routing keys.",
    ["exchange"],
)

# Items on their way.
ITEM_AGE = Histogram(
    "hitl_item_age_seconds", "Age of an item when it reaches a stage.", ["stage"], buckets=_AGES
)
INFERENCE_BATCH_SIZE = Histogram(
    "hitl_inference_batch_size", "Texts scored in one call of the model.", buckets=_SIZES
)
PREDICTIONS = Counter(
    "hitl_predictions_total",
    "Labels predicted: one of each item; of a set, and of spans, each label once.",
    ["workflow", "label", "model_version"],
)
CONFIDENCE = Histogram(
    "hitl_confidence",
    "Calibrated confidence of the predicted answer; its count is that of the items scored.",
    ["workflow"],
    buckets=_SHARES,
)
ROUTES = Counter(
    "hitl_routes_total",
    "Routes taken, by the reason that decided.",
    ["workflow", "route", "reason"],
)
HIGHLIGHTS = Counter(
    "hitl_highlights_total",
    "Items for people whose words were weighed (explained), or were not, and why.",
    ["workflow", "outcome"],
)
ACCEPTED_ERROR_UPPER_BOUND = Gauge(
    "hitl_accepted_error_upper_bound",
    "Certified upper bound of the error rate among accepted items.",
    ["workflow"],
)

# People.
REVIEW_TASKS = Gauge("hitl_review_tasks", "Review tasks by status.", ["workflow", "status"])
TASKS_OVERDUE = Gauge(
    "hitl_review_tasks_overdue", "Open tasks whose due time has passed.", ["workflow"]
)
REVIEW_DURATION = Histogram(
    "hitl_review_duration_seconds",
    "Work on a task until its decision, idle time apart.",
    buckets=(0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 900),
)
REVIEWS = Counter(
    "hitl_reviews_total",
    "Decisions of reviewers; action label: those made blind.",
    ["workflow", "action"],
)
OUTBOX_OLDEST_UNPUBLISHED = Gauge(
    "hitl_outbox_oldest_unpublished_seconds",
    "How long the oldest due event has waited to be published; 0 when none is due.",
)

# Webhooks.
WEBHOOK_DELIVERIES = Counter(
    "hitl_webhook_deliveries_total",
    "Attempts to deliver to a webhook: delivered, retried later, failed for good.",
    ["outcome"],
)
WEBHOOK_OLDEST_UNDELIVERED = Gauge(
    "hitl_webhook_oldest_undelivered_seconds",
    "How long the oldest due delivery to an active webhook has waited; 0 when none is due.",
)

RULES_INCOMPARABLE = Counter(
    "hitl_rules_incomparable_total",
    "Items of which a rule tests a metadata value of another kind than it names.",
    ["workflow", "rule"],
)

# The record.
LOGGER_ROWS = Counter("hitl_logger_rows_total", "Rows written by the logger.", ["table"])
ITEMS_EDITED = Counter(
    "hitl_items_edited_total",
    "Items that came again under the same id, with another text or with other metadata alone.",
    ["what"],
)
LEDGER_HEIGHT = Gauge("hitl_ledger_height", "Height of the newest block that this logger wrote.")

POLICY_REFUSED = Gauge(
    "hitl_policy_refused", "1 while what a workflow's file says cannot be used.", ["workflow"]
)
LIVE_POLICY_REFUSED = Gauge(
    "hitl_live_policy_refused", "1 while the newest message of the certifier could not be read."
)
LIVE_POLICY_VERSION = Gauge(
    "hitl_live_policy_version_microseconds",
    "Version of the live policy in use: when it was issued, by the database's clock.",
)

# The certificate. Only the certifier that leads shows these.
CERTIFIER_LEADS = Gauge("hitl_certifier_leads", "1 for the certifier that publishes.")
CERTIFICATE_LEASE = Gauge(
    "hitl_certificate_lease_seconds", "For how long routers go by what the certifier said last."
)
CERTIFICATION_STATE = Gauge(
    "hitl_certification_state",
    "1 for the state that a workflow is in: uncertified, certified, alarm or reporting.",
    ["workflow", "state"],
)
CERTIFIED_THRESHOLD = Gauge(
    "hitl_certified_threshold", "The loosest certified threshold; absent without one.", ["workflow"]
)
OPERATING_THRESHOLD = Gauge(
    "hitl_operating_threshold",
    "The threshold that routers are told; absent while everything goes to people.",
    ["workflow"],
)
PANEL_RATE = Gauge(
    "hitl_panel_rate", "Share of items that routers are told to audit.", ["workflow"]
)
EPOCH_LABELS = Gauge(
    "hitl_epoch_labels", "Audits of the current epoch that count, late ones too.", ["workflow"]
)
EPOCH_ERRORS = Gauge(
    "hitl_epoch_errors", "Those of them that found an error, or came too late.", ["workflow"]
)
AUDITS_OVERDUE = Gauge(
    "hitl_audits_overdue", "Audits of the current epoch that came too late.", ["workflow"]
)
AUDIT_SLA = Gauge(
    "hitl_audit_sla_seconds",
    "The policy's: an audit that is done later than that counts as an error.",
    ["workflow"],
)
WATERMARK_AGE = Gauge(
    "hitl_watermark_age_seconds",
    "How long ago the last item was routed up to which every audit is done; 0: all are.",
    ["workflow"],
)
CERTIFICATE_AGE = Gauge(
    "hitl_certificate_age_seconds", "Since the certificate in force was issued.", ["workflow"]
)
CERTIFICATE_MAX_AGE = Gauge(
    "hitl_certificate_max_age_seconds", "The policy's: then a certificate ends.", ["workflow"]
)
DRIFT_LEVEL = Gauge(
    "hitl_drift_level",
    "Detector of a risen error rate, on accepted audits; alarm at 10 000.",
    ["workflow"],
)
SCORE_PSI = Gauge(
    "hitl_score_psi",
    "Population stability index of today's scores; above 0.1: drift.",
    ["workflow"],
)
TASKS_LATE = Gauge(
    "hitl_review_tasks_late",
    "Open tasks that cannot be done by their due time at the pace of the last hour.",
    ["workflow"],
)
NOBODY_LEFT_TASKS = Gauge(
    "hitl_review_tasks_without_reviewer",
    "Tasks that wait for a second person, and everybody who may answer has answered already.",
    ["workflow"],
)
FOR_LEADS = Gauge(
    "hitl_review_tasks_for_leads",
    "Tasks that people disagree about or flagged: a lead must decide.",
    ["workflow"],
)
FOR_LEADS_OLDEST = Gauge(
    "hitl_review_for_leads_oldest_seconds",
    "How long the first of them has waited; 0 when none does.",
    ["workflow"],
)
LOOSENED = Gauge(
    "hitl_threshold_loosened",
    "1 while the threshold is loosened to the certified one.",
    ["workflow"],
)
MODEL_INFO = Gauge(
    "hitl_model_info",
    "Always 1; the models that this worker has: live, shadow.",
    ["workflow", "model_version", "role"],
)
MODEL_FILES_INFO = Gauge(
    "hitl_model_files_info",
    "Always 1; of the live model: the hash of all its files, and how texts go through it together: "
    "packed, padded, or only equal_lengths, which is correct and slower.",
    ["workflow", "model_version", "sha256", "batches"],
)
MODEL_REFUSED = Gauge(
    "hitl_model_refused",
    "1 while a model that current.json names cannot be used, and another one is.",
    ["workflow", "role"],
)
SHADOW_SCORES = Counter(
    "hitl_shadow_scores_total",
    "Items drawn for a candidate model: scored, dropped for lack of time, failed.",
    ["workflow", "outcome"],
)
BUILD_INFO = Gauge(
    "hitl_build_info", "Always 1; which version of which service this is.", ["service", "version"]
)


def observe_all(histogram: Histogram, amounts: Sequence[float]) -> None:
    """`observe` for each of many, with one look at the buckets' locks for all of them."""
    bounds = histogram._upper_bounds
    for bucket, count in Count(bisect_left(bounds, amount) for amount in amounts).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(amounts))
