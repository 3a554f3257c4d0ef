"""Does everything flow? What comes in, what is decided, what waits, what goes wrong."""

from deploy.grafana.source.board import BAD, WARN, Board, Query, Row, Shown
from deploy.grafana.source.marks import MARKS, OF, WORKFLOW

JOBS = "inference|router|review_ui|logger|feedback"
_RATE = "[$__rate_interval]"
_QUEUES = r'queue=~"hitl\\..+", queue!~".+\\.(dlq|accepted|retry\\..+)"'


def _quantile(share: float, metric: str, by: str, where: str = "") -> str:
    listed = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({listed}) (rate({metric}_bucket{{{where}}}{_RATE})))"
    )


BOARD = Board(
    uid="hitl-pipeline",
    title="Pipeline",
    description="What comes in, what the model and the people decide, what waits, what goes wrong.",
    variables=(WORKFLOW,),
    marks=MARKS,
    rows=(
        Row(
            "Now",
            (
                Shown(
                    "Services that answer",
                    "How many of the five programs Prometheus can read: more than five where some "
                    "run several times, fewer when one is down.",
                    (Query(f'sum(up{{job=~"{JOBS}"}})', "answer"),),
                    kind="stat", width=4, height=5, first=BAD, limits=((5, "green"),),
                ),
                Shown(
                    "Items scored a second",
                    "How many items the model scores, over the last minutes.",
                    (Query(f"sum(rate(hitl_confidence_count{{{OF}}}{_RATE}))", "scored"),),
                    unit="ops", kind="stat", width=4, height=5,
                ),
                Shown(
                    "Decided by the machine",
                    "Share of the routed items that no person has to look at, over the last hour.",
                    (
                        Query(
                            f'sum(increase(hitl_routes_total{{route="accept", {OF}}}[1h]))'
                            f" / sum(increase(hitl_routes_total{{{OF}}}[1h]))",
                            "accepted",
                        ),
                    ),
                    unit="percentunit", kind="stat", width=4, height=5, most=1,
                ),
                Shown(
                    "Tasks that wait for people",
                    "Open review tasks in Postgres, those in somebody's hands included.",
                    (
                        Query(
                            "sum(max by (workflow)"
                            f' (hitl_review_tasks{{status="open", {OF}}}))',
                            "open",
                        ),
                    ),
                    kind="stat", width=4, height=5,
                ),
                Shown(
                    "Dead letters",
                    "Messages set aside for a person, by RabbitMQ's count: `hitl dlq list`.",
                    (
                        Query(
                            r'sum(rabbitmq_queue_messages_ready{queue=~"hitl\\..+\\.dlq"})',
                            "dead letters",
                        ),
                    ),
                    kind="stat", width=4, height=5, limits=((1, BAD),),
                ),
                Shown(
                    "Oldest unpublished decision",
                    "How long a reviewer's decision that is due has waited to be published.",
                    (Query("max(hitl_outbox_oldest_unpublished_seconds)", "waits"),),
                    unit="s", kind="stat", width=4, height=5, limits=((10, WARN), (60, BAD)),
                ),
            ),
        ),
        Row(
            "Flow",
            (
                Shown(
                    "Routes",
                    "Where items go a second, by the reason that decided.",
                    (
                        Query(
                            "sum by (route, reason)"
                            f" (rate(hitl_routes_total{{{OF}}}{_RATE}))",
                            "{{route}}: {{reason}}",
                        ),
                    ),
                    unit="ops", stacked=True,
                ),
                Shown(
                    "Messages taken",
                    "Deliveries settled a second, by queue.",
                    (
                        Query(
                            "sum by (queue) (rate(hitl_messages_consumed_total"
                            f'{{outcome="ok"}}{_RATE}))',
                            "{{queue}}",
                        ),
                    ),
                    unit="ops",
                ),
                Shown(
                    "Messages that wait",
                    "Ready messages by RabbitMQ's own count, in the queues that we consume.",
                    (
                        Query(
                            f"sum by (queue) (rabbitmq_queue_messages_ready{{{_QUEUES}}})",
                            "{{queue}}",
                        ),
                    ),
                ),
                Shown(
                    "Age of items, median",
                    "How old an item is when it reaches a stage: half of them are younger.",
                    (Query(_quantile(0.5, "hitl_item_age_seconds", "stage"), "{{stage}}"),),
                    unit="s",
                ),
                Shown(
                    "Age of items, slowest",
                    "How old an item is when it reaches a stage: one in a hundred is older.",
                    (Query(_quantile(0.99, "hitl_item_age_seconds", "stage"), "{{stage}}"),),
                    unit="s",
                ),
                Shown(
                    "In progress",
                    "Deliveries that a program holds, handled or waiting for confirms.",
                    (
                        Query(
                            "sum by (job, queue) (hitl_messages_in_progress)", "{{job}} {{queue}}"
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "What goes wrong",
            (
                Shown(
                    "Dead letters a minute",
                    "New ones, by queue and reason; "
                    "docs/operate/failure-modes.md says what each means.",
                    (
                        Query(
                            "sum by (queue, reason)"
                            f" (rate(hitl_messages_dead_lettered_total{_RATE})) * 60",
                            "{{queue}}: {{reason}}",
                        ),
                    ),
                    unit="short", empty="none",
                ),
                Shown(
                    "Retries a minute",
                    "Messages delayed to be tried again.",
                    (
                        Query(
                            f"sum by (queue) (rate(hitl_retries_total{_RATE})) * 60", "{{queue}}"
                        ),
                    ),
                    empty="none",
                ),
                Shown(
                    "Publishes not confirmed",
                    "Refused, returned or lost with the connection, a second; each is tried again.",
                    (
                        Query(
                            "sum by (job, outcome) (rate(hitl_messages_published_total"
                            f'{{outcome!="confirmed"}}{_RATE}))',
                            "{{job}}: {{outcome}}",
                        ),
                    ),
                    unit="ops", empty="none",
                ),
                Shown(
                    "Breaker",
                    "1 while a program has stopped consuming because too much was dead-lettered.",
                    (Query("max by (job, queue) (hitl_dead_letter_breaker_open)", "{{job}}"),),
                    limits=((1, BAD),), most=1, empty="never open",
                ),
                Shown(
                    "Connection to RabbitMQ",
                    "1 while a program is connected and not blocked.",
                    (Query("min by (job, name) (hitl_broker_connection_up)", "{{name}}"),),
                    most=1,
                ),
                Shown(
                    "Webhooks",
                    "Attempts to deliver a minute, by outcome.",
                    (
                        Query(
                            "sum by (outcome)"
                            f" (rate(hitl_webhook_deliveries_total{_RATE})) * 60",
                            "{{outcome}}",
                        ),
                    ),
                    empty="no webhook",
                ),
            ),
        ),
        Row(
            "Programs",
            (
                Shown(
                    "Time in the handler",
                    "For a whole batch; 95 of 100 batches take less.",
                    (
                        Query(
                            _quantile(0.95, "hitl_message_process_duration_seconds", "queue"),
                            "{{queue}}",
                        ),
                    ),
                    unit="s",
                ),
                Shown(
                    "Time to confirm",
                    "From handing a batch to the connection until the broker has it; 95 of 100.",
                    (
                        Query(
                            _quantile(0.95, "hitl_publish_confirm_duration_seconds", "job"),
                            "{{job}}",
                        ),
                    ),
                    unit="s",
                ),
                Shown(
                    "Texts in a batch",
                    "Mean number of texts scored in one call: it rises with the load.",
                    (
                        Query(
                            f"sum(rate(hitl_inference_batch_size_sum{_RATE}))"
                            f" / sum(rate(hitl_inference_batch_size_count{_RATE}))",
                            "texts",
                        ),
                    ),
                ),
                Shown(
                    "Rows written",
                    "By the logger, a second.",
                    (
                        Query(
                            f"sum by (table) (rate(hitl_logger_rows_total{_RATE}))", "{{table}}"
                        ),
                    ),
                    unit="ops",
                ),
                Shown(
                    "Processor",
                    "Cores in use, by program.",
                    (
                        Query(
                            "sum by (job) (rate(process_cpu_seconds_total"
                            f'{{job=~"{JOBS}"}}{_RATE}))',
                            "{{job}}",
                        ),
                    ),
                ),
                Shown(
                    "Memory",
                    "Of each program, in RAM. It must not grow with the items.",
                    (
                        Query(
                            f'sum by (job) (process_resident_memory_bytes{{job=~"{JOBS}"}})',
                            "{{job}}",
                        ),
                    ),
                    unit="bytes",
                ),
            ),
        ),
    ),
)  # fmt: skip
